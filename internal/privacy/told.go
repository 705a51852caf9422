package privacy

import (
	"encoding/json"
	"slices"
)

// told is what a policy lets series tell. Descriptions and keyed hashes are in no series.
type told struct {
	Mode      string   `json:"mode"`
	Variables []string `json:"variables,omitempty"`
}

// Told returns what series that are counted with the policy can tell, to be kept with them.
func (p *Policy) Told() []byte {
	// A struct of strings has no error.
	encoded, _ := json.Marshal(told{p.Mode.String(), p.Variables})
	return encoded
}

// TellsLessThan reports whether series that were counted with another policy can tell what this one does
// not let them. What nothing is known of told all.
func (p *Policy) TellsLessThan(other []byte) bool {
	if p.Mode == ModeFull {
		return false
	}
	var before told
	mode := ModeFull
	if json.Unmarshal(other, &before) == nil {
		mode, _ = ParseMode(before.Mode)
	}
	return mode == ModeFull || p.Mode == ModeDrop && mode != ModeDrop ||
		slices.ContainsFunc(before.Variables, func(name string) bool { return !p.Tells(name) })
}
