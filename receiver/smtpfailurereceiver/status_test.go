package smtpfailurereceiver

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/zap"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature"
)

func TestStatusIsOKWhenAllPartsWork(t *testing.T) {
	disk := errors.New("the disk is full")
	const fails, works = signature.LookupFailed, signature.LookupFound
	for _, tc := range []struct {
		name  string
		steps []any   // an error of the store or nil, or the outcome of a lookup
		want  []error // nil stands for OK
	}{
		{"nothing fails", []any{nil, works, signature.LookupAbsent}, nil},
		{"store", []any{disk, disk, nil}, []error{disk, nil}},
		{"timeout", []any{signature.LookupTimeout, fails, signature.LookupRevoked}, []error{errKeyLookup, nil}},
		{"limited lookup", []any{fails, signature.LookupLimited}, []error{errKeyLookup}},
		{"store works first", []any{fails, disk, nil, works}, []error{errKeyLookup, disk, errKeyLookup, nil}},
		{"lookup works first", []any{disk, fails, works, nil}, []error{disk, errKeyLookup, disk, nil}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			events := make(chan *componentstatus.Event, 10)
			s := &status{logger: zap.NewNop()}
			s.add(&hostWith{status: events})
			for _, step := range tc.steps {
				switch step := step.(type) {
				case string:
					s.lookedUp(step)
				case error:
					s.set(partStore, step)
				case nil:
					s.set(partStore, nil)
				}
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
