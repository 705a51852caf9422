package webhook

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
	require.NoError(tb, err)
	var v vectors
	require.NoError(tb, json.Unmarshal(text, &v))
	require.NotEmpty(tb, v.Encodings)
	return v
}

func TestRealEncoders(t *testing.T) {
	v := readVectors(t)
	const want = `id="20261121-7f3a91" type="failure" action="failed" recipient="zoë+news@bücher.example" ` +
		`state="rcptto" code=550 extended=5.1.1 description="550-5.1.1 User unknown; see https://x.example/` +
		`?p=1&q=2 100% sure\n550 5.1.1 <zoë+news@bücher.example>" time=2026-11-21T10:14:58Z ` +
		`tags=["nieuwsbrief" "week 47" "a;b"]`
	reference, err := decodeJSON(string(v.Report))
	assert.Equal(t, want, describe(reference, err))
	for _, e := range v.Encodings {
		assert.Equal(t, reference, mustForm(t, e.Body), e.Encoder)
	}
}
