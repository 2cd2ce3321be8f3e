package join

import "github.com/zeebo/xxh3"

// Key stands for (user_id, product_id): a seeded 128-bit hash of both. Two different pairs with one Key are not expected in the
// life of the universe, and nobody outside can aim for one without knowing the seed.
type Key struct{ Hi, Lo uint64 }

// Hasher makes Keys. Keys of hashers with different seeds have nothing to do with each other.
type Hasher struct{ seed uint64 }

// NewHasher returns the hasher of a seed, which should be random per process.
func NewHasher(seed uint64) Hasher { return Hasher{seed: seed} }

// Key hashes a user and a product of any length. Products up to 255 bytes cost no allocation.
func (h Hasher) Key(user int32, product []byte) Key {
	var room [4 + MaxID]byte
	b := append(room[:0], byte(user), byte(user>>8), byte(user>>16), byte(user>>24))
	b = append(b, product...)
	sum := xxh3.Hash128Seed(b, h.seed)
	return Key{Hi: sum.Hi, Lo: sum.Lo}
}
