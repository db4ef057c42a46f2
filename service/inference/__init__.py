"""From texts to what the engine computes, for every protocol; it knows no HTTP."""
