package webhook

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	exhaustive = flag.Bool("exhaustive", false, "run each property five times as often, with every byte in every place")
	seed       = flag.Uint64("seed", rand.Uint64(), "seed of the random properties")
)

// rounds returns how often a property is tested, of so many times in all.
func rounds(all int) int {
	if *exhaustive {
		return all
	}
	return all / 5
}

func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	t.Logf("-seed=%d", *seed)
	return rand.New(rand.NewPCG(*seed, 0))
}

// arrived is when all calls are received.
var arrived = time.Date(2026, 11, 21, 10, 15, 0, 0, time.UTC)

func decodeForm(body string) (*Event, error) {
	return new(Decoder).Form(Call{Arrived: arrived, Body: body})
}

func decodeJSON(body string) (*Event, error) {
	return new(Decoder).JSON(Call{Arrived: arrived, Body: body})
}

func mustForm(tb testing.TB, body string) *Event {
	tb.Helper()
	e, err := decodeForm(body)
	require.NoError(tb, err, "%.200q", body)
	return e
}

// decodeCase is a body, and what describe says of it.
type decodeCase struct{ body, want string }

func testCases(t *testing.T, cases []decodeCase, decode func(body string) (*Event, error)) {
	t.Helper()
	for _, tc := range cases {
		if got := describe(decode(tc.body)); got != tc.want {
			t.Errorf("%.200q:\n got %.500s\nwant %.500s", tc.body, got, tc.want)
		}
	}
}

// describe writes what a call says in one line, as in code=550 tags=["a" "b"] x="y" !anomaly. It
// leaves out an id of 1 and the time of arrival.
func describe(e *Event, err error) string {
	if err != nil {
		for _, known := range []error{
			ErrTooManyVariables, ErrNameTooLong, ErrNoID, ErrOtherWebhook, ErrCharset, ErrJSON, ErrNoObject, ErrTooDeep,
		} {
			if errors.Is(err, known) {
				return known.Error()
			}
		}
		if _, ok := errors.AsType[*NotAcceptedError](err); ok {
			return err.Error()
		}
		return "undocumented error: " + err.Error()
	}
	var said []string
	say := func(name, value string) {
		if value != "" {
			said = append(said, fmt.Sprintf("%s=%q", name, value))
		}
	}
	if e.ID != "1" {
		say("id", e.ID)
	}
	say("type", e.Type)
	say("action", e.Action)
	say("recipient", e.Recipient)
	say("state", e.State)
	if e.Code != 0 {
		said = append(said, fmt.Sprintf("code=%d", e.Code))
	}
	if !e.Extended.IsZero() {
		said = append(said, "extended="+e.Extended.String())
	}
	say("description", e.Description)
	if !e.Time.Equal(arrived) {
		said = append(said, "time="+e.Time.Format(time.RFC3339Nano))
	}
	if len(e.Tags) > 0 {
		said = append(said, fmt.Sprintf("tags=%q", e.Tags))
	}
	for _, v := range e.Variables {
		if say(v.Name, v.Value); v.List != nil {
			said = append(said, fmt.Sprintf("%s=%q", v.Name, v.List))
		}
	}
	for _, name := range e.Anomalies {
		said = append(said, "!"+name)
	}
	return strings.Join(said, " ")
}
