/* random.c: counter-based random numbers, so that a decision's draw depends on its seed and number alone and needs no
 * state. The finaliser is splitmix64's (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "src/base/base.h"

uint64_t weirp_mix64(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t weirp_random_u64(uint64_t seed, uint64_t stream, uint64_t counter) {
    uint64_t key = weirp_mix64(seed + 0x9e3779b97f4a7c15u);
    key = weirp_mix64(key ^ (stream * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u));
    return weirp_mix64(key + counter * 0x9e3779b97f4a7c15u + 0x9e3779b97f4a7c15u);
}

double weirp_random_uniform(uint64_t seed, uint64_t stream, uint64_t counter) {
    return (double)(weirp_random_u64(seed, stream, counter) >> 11) * 0x1p-53;
}

double weirp_random_normal(uint64_t seed, uint64_t stream, uint64_t counter) {
    double u = 1.0 - weirp_random_uniform(seed, stream, 2 * counter); /* (0,1]: the logarithm is finite */
    double v = weirp_random_uniform(seed, stream, 2 * counter + 1);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586477 * v);
}

void weirp_shuffle(size_t *order, size_t n, uint64_t seed) {
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)(weirp_random_u64(seed, 0x5u, i) % i);
        size_t t = order[i - 1];
        order[i - 1] = order[j];
        order[j] = t;
    }
}
