package audit

import (
	"fmt"
	"math/big"
)

// creditMemory is how many bytes of clicks one checkout's window may hold for the linear model.
const creditMemory = 64 << 20

// credit gives the clicks that a checkout's credit goes to.
func credit(model Model, k *item, w *window) ([]click, error) {
	clicks := w.clicks()
	switch {
	case len(clicks) == 0:
		return nil, nil
	case model == ModelFirst:
		return []click{clicks[0].click()}, nil
	case model == ModelLast:
		return []click{clicks[len(clicks)-1].click()}, nil
	}
	var list []click
	size := 0
	for _, c := range clicks {
		if len(list) > 0 && list[len(list)-1] == c.click() {
			continue // the same click was sent twice
		}
		list = append(list, c.click())
		if size += len(c.id) + 40; size > creditMemory {
			return nil, fmt.Errorf("user %d clicked product %s more than %d times within a window of checkout %s: "+
				"too many to credit one by one; take a shorter --window or another --model",
				k.user, quote(k.product), len(list), quote(k.id))
		}
	}
	return list, nil
}

// weightDigits behind the point are what a weight has. Where the number of clicks does not divide
// 1, the first ones get a last digit more, so that the weights of a checkout sum to exactly 1.
const weightDigits = 12

// weight is the i-th of n equal ones, in units of the last digit.
func weight(i, n int) *big.Int {
	one := new(big.Int).Exp(big.NewInt(10), big.NewInt(weightDigits), nil)
	each, rest := one.QuoRem(one, big.NewInt(int64(n)), new(big.Int))
	if big.NewInt(int64(i)).Cmp(rest) < 0 {
		each.Add(each, big.NewInt(1))
	}
	return each
}
