package smtpfailurereceiver

import (
	"cmp"
	"errors"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/zap"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/ledger"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature"
)

// The parts that can fail for a while.
const (
	partStore = iota
	partKeys
	parts
)

// partMessages are logged when a part begins to fail and when it works again.
var partMessages = [parts]struct{ fails, works string }{
	partStore: {"The store fails; until it works again, reports get 503", "The store works again"},
	partKeys: {
		"The keys of signatures cannot be looked up; until they can, calls whose key is not cached get 503",
		"The keys of signatures can be looked up again",
	},
}

var errKeyLookup = errors.New("the DNS does not answer for the keys of signatures")

// status reports the component's status, as health_check shows it: the error of a part when the
// part begins to fail, and OK when all work again. Each signal of an instance has a host of its
// own.
type status struct {
	logger *zap.Logger

	mu      sync.Mutex // held while a status is reported, so that the last report is the newest
	hosts   []component.Host
	failing [parts]error
}

// add adds the host of one more signal.
func (s *status) add(host component.Host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hosts = append(s.hosts, host)
	if err := cmp.Or(s.failing[:]...); err != nil {
		componentstatus.ReportStatus(host, newEvent(err))
	}
}

// set sets the error of a part, nil when it works.
func (s *status) set(part int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.failing[part]
	s.failing[part] = err
	switch {
	case (before == nil) == (err == nil):
		return
	case err != nil:
		s.logger.Error(partMessages[part].fails, zap.Error(err))
	default:
		s.logger.Info(partMessages[part].works)
		err = cmp.Or(s.failing[:]...)
	}
	s.reportLocked(newEvent(err))
}

func newEvent(err error) *componentstatus.Event {
	switch {
	case err == nil:
		return componentstatus.NewEvent(componentstatus.StatusOK)
	case errors.Is(err, ledger.ErrReplaced):
		return componentstatus.NewPermanentErrorEvent(err)
	}
	return componentstatus.NewRecoverableErrorEvent(err)
}

func (s *status) report(event *componentstatus.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reportLocked(event)
}

func (s *status) reportLocked(event *componentstatus.Event) {
	for _, host := range s.hosts {
		componentstatus.ReportStatus(host, event)
	}
}

// lookedUp sets the status of the keys by the outcome of a lookup. A name without a key was
// answered, and a lookup that was not made says nothing.
func (s *status) lookedUp(outcome string) {
	switch outcome {
	case signature.LookupFailed, signature.LookupTimeout:
		s.set(partKeys, errKeyLookup)
	case signature.LookupLimited:
	default:
		s.set(partKeys, nil)
	}
}
