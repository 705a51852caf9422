package smtpfailurereceiver

import (
	"errors"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/zap"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/ledger"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature"
)

// The parts that can fail for a while and recover by themselves.
const (
	partStore = iota
	partKeys
)

// parts is what is logged of each.
var parts = [...]struct{ fails, works string }{
	partStore: {"The store fails; until it works again, reports are refused with 503", "The store works again"},
	partKeys:  {"The keys of signatures cannot be looked up; until they can, calls whose key is not at hand are refused with 503", "The keys of signatures can be looked up again"},
}

var errKeyLookup = errors.New("the DNS does not answer for the keys of signatures")

// status tells the collector how the component is: a part's error when the part begins to fail, and OK when all of them work
// again. Extensions such as health_check make it visible. An instance that is used for several signals is a component for
// each, with a host of its own.
type status struct {
	logger *zap.Logger

	mu      sync.Mutex
	hosts   []component.Host
	failing [len(parts)]error
}

// add adds the host of one more signal.
func (s *status) add(host component.Host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hosts = append(s.hosts, host)
	if err := s.firstError(); err != nil {
		componentstatus.ReportStatus(host, eventOf(err))
	}
}

// set says how a part is: nil when it works.
func (s *status) set(part int, err error) {
	// Held while it is reported, so that the last report is of how it is.
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.failing[part]
	s.failing[part] = err
	switch {
	case (before == nil) == (err == nil):
		return
	case err != nil:
		s.logger.Error(parts[part].fails, zap.Error(err))
	default:
		s.logger.Info(parts[part].works)
		err = s.firstError()
	}
	s.reportToAll(eventOf(err))
}

func (s *status) firstError() error {
	for _, err := range s.failing {
		if err != nil {
			return err
		}
	}
	return nil
}

func eventOf(err error) *componentstatus.Event {
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
	s.reportToAll(event)
}

func (s *status) reportToAll(event *componentstatus.Event) {
	for _, host := range s.hosts {
		componentstatus.ReportStatus(host, event)
	}
}

// lookedUp says how the keys are, by the outcome of a lookup. That a name has no key is a good answer, and a lookup that was not made is none.
func (s *status) lookedUp(outcome string) {
	switch outcome {
	case signature.LookupFailed, signature.LookupTimeout:
		s.set(partKeys, errKeyLookup)
	case signature.LookupLimited:
	default:
		s.set(partKeys, nil)
	}
}
