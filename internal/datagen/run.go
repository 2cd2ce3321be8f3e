package datagen

import (
	"context"
	"errors"
)

func run(ctx context.Context, cfg Config) (Summary, error) { return Summary{}, errors.New("not yet") }
