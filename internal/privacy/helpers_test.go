package privacy

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
)

// visible compares what an event says, and not what follows from it.
var visible = cmp.Options{cmpopts.IgnoreFields(webhook.Event{}, "Domain", "Class", "Asynchronous", "Cause", "Identity"), cmpopts.EquateEmpty()}

// rounds of each property. The seed is printed by a test that fails; FAILURE_TEST_SEED repeats it.
const rounds = 3000

func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("FAILURE_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("FAILURE_TEST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func mustForm(tb testing.TB, body string) webhook.Event {
	tb.Helper()
	var d webhook.Decoder
	e, err := d.Form(webhook.Call{Body: body})
	if err != nil {
		tb.Fatalf("form %.200q: %v", body, err)
	}
	return *e
}

// other is a scalar that has no field of its own.
func other(name, value string) webhook.Variable { return webhook.Variable{Name: name, Value: value} }

// others are the elements of an array that has no field of its own.
func others(name string, values ...string) webhook.Variable {
	return webhook.Variable{Name: name, List: values}
}
