package event

import "github.com/zeebo/xxh3"

// Key stands for (user_id, product_id): a seeded 128-bit hash of both. Two different pairs with one
// Key are not expected in the life of the universe. Nobody can aim for one without the seed.
type Key struct{ Hi, Lo uint64 }

// Hasher makes Keys. Keys of hashers with different seeds have nothing to do with each other.
type Hasher struct{ seed uint64 }

// NewHasher returns the hasher of a seed, which should be random per process.
func NewHasher(seed uint64) Hasher { return Hasher{seed: seed} }

// Key hashes a user and a product of any length. The user goes into the product's seed, mixed, so
// that the product needs no copying and nobody can relate one seed to the next.
func (h Hasher) Key(user int32, product []byte) Key {
	sum := xxh3.Hash128Seed(product, Mix(h.seed+uint64(uint32(user))*0x9e3779b97f4a7c15))
	return Key{Hi: sum.Hi, Lo: sum.Lo}
}

// Mix is a bijection in which every bit of the input moves every bit of the output (the finalizer
// of SplitMix64).
func Mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
