package signature

import (
	"fmt"
	"time"
)

// maxMissing bounds the names without a key that are remembered.
const maxMissing = 256

// missing are names that have no key, or whose lookup failed, and when that was found out.
type missing map[string]absence

type absence struct {
	reason string // of the Refusal; empty: the lookup failed
	since  time.Time
}

// add remembers a name, in place of the oldest if there are too many.
func (m missing) add(name, reason string, now time.Time) {
	if _, ok := m[name]; !ok && len(m) >= maxMissing {
		oldest := ""
		for other, a := range m {
			if oldest == "" || a.since.Before(m[oldest].since) {
				oldest = other
			}
		}
		delete(m, oldest)
	}
	m[name] = absence{reason, now}
}

// errorOf returns the error of a name that need not be asked for now, or nil.
func (m missing) errorOf(name string, now time.Time) error {
	switch a, ok := m[name]; {
	case !ok:
		return nil
	case a.reason == "" && within(now, a.since, failedFor):
		return fmt.Errorf("%w: %s", ErrKeyUnavailable, LookupFailed)
	case a.reason != "" && within(now, a.since, absentFor):
		return refuse(a.reason)
	}
	return nil
}
