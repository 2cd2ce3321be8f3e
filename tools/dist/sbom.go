package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// bill adds the SBOM, CycloneDX in JSON, with the commit's time in place of ours.
func (r *release) bill(ctx context.Context, binary string, all files) error {
	out, err := exec.CommandContext(ctx, "go", "run", r.sbom, "bin", "-json", "-noserial", "-version", r.version,
		binary).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return fmt.Errorf("make the SBOM: %w", err)
	}
	content, err := stamped(out, r.time)
	if err != nil {
		return fmt.Errorf("read the SBOM: %w", err)
	}
	all["sbom.cdx.json"] = file{content: content}
	return nil
}

// stamped puts a time into an SBOM. Members come out in order.
func stamped(sbom []byte, at time.Time) ([]byte, error) {
	var bom map[string]any
	if err := json.Unmarshal(sbom, &bom); err != nil {
		return nil, err
	}
	meta, ok := bom["metadata"].(map[string]any)
	if components, has := bom["components"].([]any); !ok || !has || len(components) == 0 {
		return nil, errors.New("it has no metadata or no components")
	}
	meta["timestamp"] = at.UTC().Format(time.RFC3339)
	return json.MarshalIndent(bom, "", "  ")
}
