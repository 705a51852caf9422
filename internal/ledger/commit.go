package ledger

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/counter"
)

// pending is a report that waits for its write.
type pending[K counter.Key[K]] struct {
	id      ID
	outcome Outcome
	at      time.Time
	counts  Counts[K]

	// turn gets true when the report's write has ended, false when it is this caller's turn to write for all who wait.
	turn chan bool
	over Overflows
	err  error
}

// commit writes a report together with all others that wait at the same time, so that one sync of the store serves many of them: whoever
// comes first writes, those who come while it does make up the next group, and the first of them writes that.
func (s *store[K]) commit(ctx context.Context, p *pending[K]) (Overflows, error) {
	s.queue.Lock()
	s.waiting = append(s.waiting, p)
	first := !s.writing
	s.writing = true
	s.queue.Unlock()
	if !first {
		if written := <-p.turn; written {
			return p.over, p.err
		}
	}

	s.queue.Lock()
	n := min(len(s.waiting), maxGroup)
	group := s.waiting[:n:n]
	s.waiting = s.waiting[n:]
	s.queue.Unlock()

	// Whatever happens, even a panic in the store, nobody waits in vain.
	defer func() {
		for _, other := range group {
			if other != p {
				other.turn <- true
			}
		}
		s.queue.Lock()
		defer s.queue.Unlock()
		if len(s.waiting) > 0 {
			s.waiting[0].turn <- false
		} else {
			s.waiting, s.writing = nil, false
		}
	}()
	for _, member := range group {
		member.err = errUnfinished
	}
	// The group is not the caller's alone: its context must not end the others.
	s.commitGroup(context.WithoutCancel(ctx), group)
	return p.over, p.err
}

var errUnfinished = fmt.Errorf("%w: the write did not end", ErrStore)

// commitGroup keeps the reports and what they count in one write, and counts them when that has worked.
func (s *store[K]) commitGroup(ctx context.Context, group []*pending[K]) {
	// Without a deadline there is no error.
	_ = s.acquire(ctx)
	defer s.release()

	options := &s.ledger.options
	ops := make(map[place]*storage.Operation)
	if options.Deduplicate {
		p := place{seenPlace, s.meta.Next}
		ops[p] = storage.SetOperation(s.key(p), seal(appendSeen(nil, group)))
	}
	changes := make([]*counter.Change[K], len(options.Metrics))
	for m, metric := range options.Metrics {
		changes[m] = metric.Sums.Stage()
		for _, p := range group {
			if p.over == nil {
				p.over = make(Overflows, len(options.Metrics))
			}
			for _, key := range p.counts[m] {
				if changes[m].Add(key, p.at) {
					p.over[m]++
				}
			}
		}
		for slot, record := range changes[m].Records() {
			p := place{m, uint64(slot)}
			ops[p] = storage.SetOperation(s.key(p), seal(appendRecord(nil, &record, options.Encode, options.Temporality)))
		}
	}

	record := s.meta.Next
	if err := s.write(ctx, len(group), ops); err != nil {
		for _, change := range changes {
			change.Drop()
		}
		for _, p := range group {
			p.err = err
		}
		return
	}
	for _, change := range changes {
		change.Apply()
	}
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	for _, p := range group {
		p.err = nil
		s.ledger.remember(p.id, p.outcome, p.at, record)
	}
}
