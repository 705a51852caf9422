package ledger

import "time"

// seen are committed reports in the order of their commit. There may be millions, and the garbage collector would look at each of them again
// and again, so nothing here holds a pointer but the list of blocks.
type seen struct {
	// numbers are those of the entries: the first that was ever added is 0.
	numbers index
	// blocks hold the entries from number first on, which is in the first block, and before next.
	blocks      []*block
	first, next uint64
	// spare is a block that was emptied, to be used again.
	spare *block
}

// A list of blocks grows without being copied.
const blockSize = 1024

type block [blockSize]entry

// entry is a committed report.
type entry struct {
	id ID
	// at is when it was committed, since Ledger.began.
	at time.Duration
	// record is where the store has it.
	record uint64
	// outcome is 0 when the report was added again, with a higher number.
	outcome Outcome
}

func newSeen() seen {
	return seen{numbers: newIndex()}
}

// len returns the number of reports.
func (s *seen) len() int { return s.numbers.used }

// of returns what became of a report, 0 when it is not there.
func (s *seen) of(id ID) Outcome {
	if n, ok := s.numbers.get(&id, s.idOf); ok {
		return s.entry(s.number(n)).outcome
	}
	return 0
}

// number returns the number of which the index has the low half. No two entries are so far apart that it could be another one.
func (s *seen) number(low uint32) uint64 { return s.first + uint64(low-uint32(s.first)) }

func (s *seen) idOf(low uint32) *ID { return &s.entry(s.number(low)).id }

func (s *seen) entry(n uint64) *entry {
	return &s.blocks[n/blockSize-s.first/blockSize][n%blockSize]
}

// add adds a report as the newest.
func (s *seen) add(e entry) {
	if s.next/blockSize-s.first/blockSize == uint64(len(s.blocks)) {
		if s.spare == nil {
			s.spare = new(block)
		}
		s.blocks = append(s.blocks, s.spare)
		s.spare = nil
	}
	*s.entry(s.next) = e
	if n, ok := s.numbers.put(&e.id, uint32(s.next), s.idOf); ok {
		s.entry(s.number(n)).outcome = 0
	}
	s.next++
}

// oldest returns the oldest report, nil when there is none.
func (s *seen) oldest() *entry {
	for s.first < s.next {
		if e := s.entry(s.first); e.outcome != 0 {
			return e
		}
		s.advance()
	}
	return nil
}

// removeOldest forgets what oldest returns.
func (s *seen) removeOldest() {
	if e := s.oldest(); e != nil {
		s.numbers.remove(&e.id, s.idOf)
		s.advance()
	}
}

// advance leaves the first entry behind.
func (s *seen) advance() {
	if s.first++; s.first%blockSize == 0 {
		s.spare, s.blocks[0] = s.blocks[0], nil
		s.blocks = s.blocks[1:]
	}
}
