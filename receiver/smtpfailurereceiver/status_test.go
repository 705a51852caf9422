package smtpfailurereceiver

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/zap"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature"
)

// It is well when every part of it is.
func TestStatus(t *testing.T) {
	disk := errors.New("the disk is full")
	store := func(err error) func(*status) { return func(s *status) { s.set(partStore, err) } }
	lookup := func(outcome string) func(*status) { return func(s *status) { s.lookedUp(outcome) } }
	for _, tc := range []struct {
		name  string
		steps []func(*status)
		want  []error // nil stands for OK
	}{
		{"nothing fails", []func(*status){store(nil), lookup(signature.LookupFound), lookup(signature.LookupAbsent)}, nil},
		{"the store fails and recovers", []func(*status){store(disk), store(disk), store(nil)}, []error{disk, nil}},
		{
			"lookups fail and recover",
			[]func(*status){lookup(signature.LookupTimeout), lookup(signature.LookupFailed), lookup(signature.LookupLimited), lookup(signature.LookupRevoked)},
			[]error{errKeyLookup, nil},
		},
		{"the store recovers first", []func(*status){lookup(signature.LookupFailed), store(disk), store(nil), lookup(signature.LookupFound)}, []error{errKeyLookup, disk, errKeyLookup, nil}},
		{"the keys recover first", []func(*status){store(disk), lookup(signature.LookupFailed), lookup(signature.LookupFound), store(nil)}, []error{disk, errKeyLookup, disk, nil}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			events := make(chan *componentstatus.Event, 10)
			s := &status{logger: zap.NewNop()}
			s.add(&hostWith{status: events})
			for _, step := range tc.steps {
				step(s)
			}
			close(events)
			var got []error
			for event := range events {
				assert.Equal(t, event.Err() == nil, event.Status() == componentstatus.StatusOK)
				got = append(got, event.Err())
			}
			assert.Equal(t, tc.want, got)
		})
	}
}
