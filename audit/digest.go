package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"math/big"
)

// digest is the sum of the rows' SHA-256 modulo 2^256. The order of rows does not matter; each row
// does, also one that is there twice.
type digest struct {
	sum big.Int
}

var digestModulus = new(big.Int).Lsh(big.NewInt(1), 256)

func (d *digest) add(checkoutID string, c click) {
	text := append([]byte(checkoutID), 0)
	if c.ok() {
		text = append(append(text, c.id...), 0)
		text = append(text, formatTime(c.time)...)
	}
	hash := sha256.Sum256(text)
	d.sum.Add(&d.sum, new(big.Int).SetBytes(hash[:]))
	if d.sum.Cmp(digestModulus) >= 0 {
		d.sum.Sub(&d.sum, digestModulus)
	}
}

// String is 64 hex digits.
func (d *digest) String() string {
	return hex.EncodeToString(d.sum.FillBytes(make([]byte, sha256.Size)))
}
