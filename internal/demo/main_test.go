package demo

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// asDemo makes the test program a demo on that directory: for tests that kill it.
const asDemo = "FIRSTCLICK_TEST_DEMO"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asDemo); dir != "" {
		if err := Run(context.Background(), Config{Dir: dir, Listen: "127.0.0.1:0", Out: os.Stdout}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
