package webhook

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
)

// visible compares what an event says, and not what follows from it. A time that is not expected is that of the arrival.
var visible = cmp.Options{
	cmpopts.IgnoreFields(Event{}, "Address", "Domain", "Arrived", "Class", "Asynchronous", "Cause", "DecidedBy", "Identity"), cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b time.Time) bool { return orArrived(a).Equal(orArrived(b)) }),
}

func orArrived(t time.Time) time.Time {
	if t.IsZero() {
		return arrived
	}
	return t
}

// arrived is when all bodies arrive.
var arrived = utc(2026, 11, 21, 10, 15, 0)

// decodeCase is a body and what it has to be read as: want when it is a report, else the error err.
type decodeCase struct {
	name string
	body string
	want Event
	err  error
}

func (tc *decodeCase) check(t *testing.T, got *Event, err error) {
	t.Helper()
	if !errors.Is(err, tc.err) {
		t.Fatalf("%.200q: error %v, want %v", tc.body, err, tc.err)
	}
	var want *Event
	if tc.err == nil {
		want = &tc.want
	}
	if diff := cmp.Diff(want, got, visible); diff != "" {
		t.Errorf("%.200q (-want +got):\n%s", tc.body, diff)
	}
}

func mustForm(tb testing.TB, body string) Event {
	tb.Helper()
	var d Decoder
	r, err := d.Form(Call{Arrived: arrived, Body: body})
	if err != nil {
		tb.Fatalf("form %.200q: %v", body, err)
	}
	return *r
}

func mustJSON(tb testing.TB, body string) Event {
	tb.Helper()
	var d Decoder
	r, err := d.JSON(Call{Arrived: arrived, Body: body})
	if err != nil {
		tb.Fatalf("JSON %.200q: %v", body, err)
	}
	return *r
}

func mustLocation(tb testing.TB, name string) *time.Location {
	tb.Helper()
	location, err := time.LoadLocation(name)
	if err != nil {
		tb.Skipf("no time zone database: %v", err)
	}
	return location
}

// other is a scalar that has no field of its own.
func other(name, value string) Variable { return Variable{Name: name, Value: value} }

// others are the elements of an array that has no field of its own.
func others(name string, values ...string) Variable { return Variable{Name: name, List: values} }

// utc is a time in the only zone that reports have.
func utc(year int, month time.Month, day, hour, minute, second int) time.Time {
	return time.Date(year, month, day, hour, minute, second, 0, time.UTC)
}

var badMailbox = enhanced(5, 1, 1)

func enhanced(class, subject, detail uint16) smtpstatus.Enhanced {
	return smtpstatus.Enhanced{Class: class, Subject: subject, Detail: detail}
}
