package ledger

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/counter"
)

// A record of the journal is what one write committed. It begins with a byte of flags and a time that others in it count from. Then come
// the number of its reports, and of each its identity, outcome and time; then for each metric that it counts in, its index in meta.Metrics, the number of
// series, and of each the slot, what is added, and when that was counted last. A series that is not there yet says in one bit of what
// is added that it brings what it is made of: flags, start and key. Numbers are varints, so that most take one byte.

// appendHead begins a record.
func appendHead(b []byte, temporality counter.Temporality, base time.Time) []byte {
	return appendTime(append(b, temporalityFlag(temporality)), base)
}

func appendReports[K counter.Key[K]](b []byte, group []*pending[K], base time.Time) []byte {
	b = binary.AppendUvarint(b, uint64(len(group)))
	for _, p := range group {
		b = append(b, p.id[:]...)
		b = append(b, byte(p.outcome))
		b = appendSince(b, p.at, base)
	}
	return b
}

func appendCounts[K counter.Key[K]](b []byte, metric int, updates []counter.Update[K], base time.Time, encode func(K) []byte) []byte {
	if len(updates) == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64(metric))
	b = binary.AppendUvarint(b, uint64(len(updates)))
	for i := range updates {
		u := &updates[i]
		b = binary.AppendUvarint(b, uint64(u.Slot()))
		add := uint64(u.Add) << 1
		if u.Made {
			add |= 1
		}
		b = appendSince(binary.AppendUvarint(b, add), u.Counted, base)
		if !u.Made {
			continue
		}
		key, overflow, start := u.Series()
		var flags byte
		if overflow {
			flags |= flagOverflow
		}
		encoded := encode(key)
		b = appendTime(append(b, flags), start)
		b = append(binary.AppendUvarint(b, uint64(len(encoded))), encoded...)
	}
	return b
}

// appendSince appends a time as the nanoseconds after another.
func appendSince(b []byte, at, base time.Time) []byte {
	return binary.AppendVarint(b, nanoseconds(at)-nanoseconds(base))
}

// count is what a record adds to one series.
type count struct {
	metric, slot uint64
	add          int64
	counted      time.Time
	// flags are flagDelta, and flagOverflow in a series that is made.
	flags byte
	// made says that the series is not there yet; start and key are set only then.
	made  bool
	start time.Time
	key   []byte
}

var errMetric = errors.New("there is no such metric")

// readRecord reads a record of the journal. What is handed over shares the memory of b.
func readRecord(b []byte, report func(ID, Outcome, time.Time), add func(count) error) error {
	r := reader{rest: b}
	flags := r.byte()
	base := nanoseconds(r.time())
	for n := r.uvarint(); n > 0 && !r.short; n-- {
		id, outcome := r.take(uint64(len(ID{}))), Outcome(r.byte())
		at := r.varint()
		if r.short {
			break
		}
		if outcome != Accepted && outcome != Refused {
			return errOutcome
		}
		report(ID(id), outcome, timeOf(base+at))
	}
	for len(r.rest) > 0 && !r.short {
		metric := r.uvarint()
		for n := r.uvarint(); n > 0 && !r.short; n-- {
			c := count{metric: metric, slot: r.uvarint(), flags: flags & flagDelta}
			bits := r.uvarint()
			c.add, c.made = int64(bits>>1), bits&1 != 0
			c.counted = timeOf(base + r.varint())
			if c.made {
				c.flags |= r.byte() & flagOverflow
				c.start = r.time()
				c.key = r.take(r.uvarint())
			}
			if r.short {
				break
			}
			if err := add(c); err != nil {
				return err
			}
		}
	}
	if r.short {
		return errLength
	}
	return nil
}

// reader reads from the front of what there is. Past the end, or what is no number, it is short, and all that it reads is nothing.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.rest, r.short = nil, true
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) time() time.Time {
	if b := r.take(8); b != nil {
		return readTime(b)
	}
	return time.Time{}
}

func (r *reader) uvarint() uint64 {
	value, n := binary.Uvarint(r.rest)
	return value * uint64(r.skip(n))
}

func (r *reader) varint() int64 {
	value, n := binary.Varint(r.rest)
	return value * int64(r.skip(n))
}

// skip leaves the n bytes of a number behind; it returns 0 if it was none, and 1 otherwise.
func (r *reader) skip(n int) int {
	if n <= 0 {
		r.rest, r.short = nil, true
		return 0
	}
	r.rest = r.rest[n:]
	return 1
}
