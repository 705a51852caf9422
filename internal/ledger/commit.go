package ledger

import (
	"context"
	"fmt"
	"runtime"
	"time"

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
func (s *store[K]) commit(ctx context.Context, id ID, outcome Outcome, at time.Time, counts Counts[K]) (Overflows, error) {
	p, _ := s.idle.Get().(*pending[K])
	if p == nil {
		p = &pending[K]{turn: make(chan bool, 1)}
	}
	p.id, p.outcome, p.at, p.counts = id, outcome, at, counts
	s.await(ctx, p)
	over, err := p.over, p.err
	// Whoever waits gets its turn once, so that nothing is left in the channel.
	*p = pending[K]{turn: p.turn}
	s.idle.Put(p)
	return over, err
}

// await returns when the report's write has ended.
func (s *store[K]) await(ctx context.Context, p *pending[K]) {
	s.queue.Lock()
	s.waiting = append(s.waiting, p)
	first := !s.writing
	s.writing = true
	s.queue.Unlock()
	if !first {
		if written := <-p.turn; written {
			return
		}
	}
	s.gather()

	s.queue.Lock()
	group := s.waiting
	if len(group) > maxGroup {
		group = group[:maxGroup:maxGroup]
	}
	if s.waiting = s.waiting[len(group):]; len(s.waiting) == 0 {
		s.waiting, s.spare = s.spare, nil
	}
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
		clear(group)
		s.spare = group[:0]
		if s.writing = len(s.waiting) > 0; s.writing {
			s.waiting[0].turn <- false
		}
	}()
	for _, member := range group {
		member.err = errUnfinished
	}
	// The group is not the caller's alone: its context must not end the others.
	s.commitGroup(context.WithoutCancel(ctx), group)
}

var errUnfinished = fmt.Errorf("%w: the write did not end", ErrStore)

// gather lets those run who are about to commit too, for as long as more of them do: the more share a write, the less each costs. Nobody waits
// for a time: where nothing else is to be done it is the writer's turn at once.
func (s *store[K]) gather() {
	for waiting := 0; ; {
		s.queue.Lock()
		n := len(s.waiting)
		s.queue.Unlock()
		if n == waiting || n >= maxGroup {
			return
		}
		waiting = n
		runtime.Gosched()
	}
}

// commitGroup keeps the reports and what they count in one write, and counts them when that has worked.
func (s *store[K]) commitGroup(ctx context.Context, group []*pending[K]) {
	// Without a deadline there is no error.
	_ = s.acquire(ctx)
	defer s.release()
	// Of a change that was applied nothing is left to drop.
	defer func() {
		for _, change := range s.changes {
			change.Drop()
		}
	}()

	record := s.meta.Next
	if err := s.write(ctx, len(group), seal(s.stage(group)), s.due()); err != nil {
		for _, p := range group {
			p.err = err
		}
		return
	}
	for m, change := range s.changes {
		updates := change.Updates()
		for i := range updates {
			s.dirty[m].mark(updates[i].Slot())
		}
		change.Apply()
	}
	l := s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(l.options.Now())
	for _, p := range group {
		p.err = nil
		l.remember(p.id, p.outcome, p.at, record)
	}
}

// stage adds what the group counts to the changes, and returns the record of it.
func (s *store[K]) stage(group []*pending[K]) []byte {
	options := &s.ledger.options
	n := len(options.Metrics)
	over := make(Overflows, n*len(group))
	for i, p := range group {
		p.over = over[i*n : (i+1)*n : (i+1)*n]
	}
	base := group[0].at
	// With the usual handful of counts in a report nothing has to be moved.
	b := appendHead(make([]byte, 0, 64+64*len(group)), options.Temporality, base)
	if options.Deduplicate {
		b = appendReports(b, group, base)
	} else {
		b = appendReports[K](b, nil, base)
	}
	for m, change := range s.changes {
		for _, p := range group {
			p.over[m] = change.Add(p.counts[m], p.at)
		}
		b = appendCounts(b, m, change.Updates(), base, options.Encode)
	}
	return b
}
