package webhook

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// vectors is one report in the output of real encoders.
type vectors struct {
	Report    json.RawMessage `json:"report"`
	Encodings []struct {
		Encoder string `json:"encoder"`
		Body    string `json:"body"`
	} `json:"encodings"`
}

func readVectors(tb testing.TB) vectors {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "testdata", "vectors", "form_encodings.json"))
	if err != nil {
		tb.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(text, &v); err != nil {
		tb.Fatal(err)
	}
	if len(v.Encodings) == 0 || len(v.Report) == 0 {
		tb.Fatal("no vectors")
	}
	return v
}

func TestRealEncoders(t *testing.T) {
	v := readVectors(t)
	var sent struct {
		ID, Type, Recipient, Action, State, Description string
		Tags                                            []string
	}
	if err := json.Unmarshal(v.Report, &sent); err != nil {
		t.Fatal(err)
	}
	want := Event{
		ID: sent.ID, Type: sent.Type, Recipient: sent.Recipient, Action: sent.Action, State: sent.State, Description: sent.Description, Tags: sent.Tags,
		Code: 550, Extended: badMailbox, Time: utc(2026, 11, 21, 10, 14, 58),
	}
	reference := mustJSON(t, string(v.Report))
	if diff := cmp.Diff(want, reference, visible); diff != "" {
		t.Errorf("the report itself as JSON (-want +got):\n%s", diff)
	}
	for _, e := range v.Encodings {
		t.Run(strings.ReplaceAll(e.Encoder, " ", "_"), func(t *testing.T) {
			got := mustForm(t, e.Body)
			if diff := cmp.Diff(want, got, visible); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Identity != reference.Identity {
				t.Error("the identity is not that of the report as JSON")
			}
		})
	}
}
