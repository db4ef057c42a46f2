/* The numbers of tensors and the units of products, in float32, in bfloat16, and in bfloat16 with AVX512-BF16. */
#pragma once

/* One number, in float32. */
INLINE float number(const element *from)
{
#if defined(BFLOAT16)
    uint32_t bits = (uint32_t)*from << 16;
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
#else
    return *from;
#endif
}

#if PER_UNIT == 2

typedef __m512i wide __attribute__((may_alias, aligned(2)));
typedef __m256i half_wide __attribute__((may_alias, aligned(2)));

/* The numbers of vectors a and b in turn: a[0], b[0], a[1], b[1] ...; `from` is 0 or half of their numbers. */
#define IN_TURN4(i, from, s) (i) + (from), (i) + (from) + (s), (i) + 1 + (from), (i) + 1 + (from) + (s)
#define IN_TURN16(i, from, s) \
    IN_TURN4(i, from, s), IN_TURN4(i + 2, from, s), IN_TURN4(i + 4, from, s), IN_TURN4(i + 6, from, s)
typedef short numbers __attribute__((vector_size(64)));
#define IN_TURN(from, s) (__m512i)(numbers){IN_TURN16(0, from, s), IN_TURN16(8, from, s)}

INLINE vec load_element(const element *from)
{
    return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(*(const half_wide *)from), 16);
}
INLINE void store_element(element *to, vec value) { *(half_wide *)to = (__m256i)_mm512_cvtneps_pbh((__m512)value); }

INLINE vec add_product(vec sum, vec a, vec b)
{
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}
INLINE vec load_units(const element *from) { return (vec) * (const wide *)from; }
INLINE vec spread_unit(const float *from) { return (vec)_mm512_set1_ps(*from); }
INLINE vec spread(const element *from)
{
    int32_t both;
    memcpy(&both, from, sizeof(both));
    return (vec)_mm512_set1_epi32(both);
}
INLINE void load_rows(vec *into, const int vectors, const element *from, int64_t row)
{
    __m512i a, b;
    if (vectors == 1) {
        a = _mm512_castsi256_si512(*(const half_wide *)from);
        b = _mm512_castsi256_si512(*(const half_wide *)(from + row));
    } else {
        a = *(const wide *)from;
        b = *(const wide *)(from + row);
    }
    for (int v = 0; v < vectors; v++)
        into[v] = (vec)_mm512_permutex2var_epi16(a, v ? IN_TURN(16, 32) : IN_TURN(0, 32), b);
}
/* As `load_rows` of two vectors, with zeros in the place of the second row. */
INLINE void load_row(vec *into, const element *from)
{
    for (int v = 0; v < 2; v++)
        into[v] = (vec)_mm512_cvtepu16_epi32(*(const half_wide *)(from + v * WIDTH));
}

/* Units of a[i] and b[i]. */
INLINE vec units_across(vec a, vec b)
{
    return (vec)_mm512_permutexvar_epi16(IN_TURN(0, 16), (__m512i)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a));
}
/* Units of a[0] and a[1], a[2] and a[3] ..., then those of b. */
INLINE vec units_along(vec a, vec b) { return (vec)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a); }

#else

#if defined(BFLOAT16)

typedef uint32_t bits __attribute__((vector_size(4 * WIDTH)));
typedef uint16_t halves __attribute__((vector_size(2 * WIDTH)));
typedef uint16_t halves_anywhere __attribute__((vector_size(2 * WIDTH), aligned(2), may_alias));

INLINE vec load_element(const element *from)
{
    return (vec)(__builtin_convertvector((halves) * (const halves_anywhere *)from, bits) << 16);
}
/* Rounded to the nearest, ties to even; NaN stays NaN. */
INLINE void store_element(element *to, vec value)
{
    bits exact = (bits)value, is_nan = (bits)(value != value);
    bits rounded = (exact + 0x7fff + (exact >> 16 & 1)) >> 16;
    *(halves_anywhere *)to = __builtin_convertvector((rounded & ~is_nan) | (is_nan & 0x7fc0), halves);
}
INLINE vec spread(const element *from) { return (vec)((bits){0} + ((uint32_t)*from << 16)); }

#else

INLINE vec load_element(const element *from) { return load(from); }
INLINE void store_element(element *to, vec value) { store(to, value); }
INLINE vec spread(const element *from) { return all(*from); }

#endif

INLINE vec add_product(vec sum, vec a, vec b) { return sum + a * b; }
INLINE vec load_units(const element *from) { return load_element(from); }
INLINE vec spread_unit(const float *from) { return all(*from); }
INLINE void load_rows(vec *into, const int vectors, const element *from, int64_t row)
{
    (void)row;
    for (int v = 0; v < vectors; v++)
        into[v] = load_element(from + v * WIDTH);
}

#endif
