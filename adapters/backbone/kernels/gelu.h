/* The exact GELU, x (1 + erf(x / sqrt(2))) / 2. */
#pragma once

#include "vector.h"

/* erf(x) within 2e-7: a quotient of polynomials, up to the x from which erf is 1 in float32. */
INLINE vec erf_of(vec x)
{
    const vec most = all(3.9192059f);
    x = greater(-most, -greater(-most, -x)); /* in this form NaN stays NaN */
    vec y = x * x;
    vec above = all(-2.72614225801306e-10f);
    above = above * y + 2.77068142495902e-08f;
    above = above * y + -2.10102402082508e-06f;
    above = above * y + -5.69250639462346e-05f;
    above = above * y + -7.34990630326855e-04f;
    above = above * y + -2.95459980854025e-03f;
    above = above * y + -1.60960333262415e-02f;
    vec below = all(-1.45660718464996e-05f);
    below = below * y + -2.13374055278905e-04f;
    below = below * y + -1.68282697438203e-03f;
    below = below * y + -7.37332916720468e-03f;
    below = below * y + -1.42647390514189e-02f;
    return x * above / below;
}

INLINE vec gelu(vec x) { return x * (0.5f + 0.5f * erf_of(x * 0.70710678f)); }
