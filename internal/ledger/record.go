package ledger

import (
	"encoding/binary"
	"errors"
	"slices"
)

// record is one change of a ledger. A store has nothing but records: applied in order to an empty
// ledger they restore it. Times are in nanoseconds since 1970.
type record struct {
	reports []report
	series  []seriesOp
	values  []value
	// collected is an upper bound of the times of all points so far, acknowledged the time of the
	// last acknowledged collection. Zero leaves them as they are.
	collected, acknowledged int64
}

// report is a committed report.
type report struct {
	kind      string
	id        ID
	outcome   Outcome
	committed int64
}

// seriesOp is a change of one series.
type seriesOp struct {
	op                 opcode
	metric, attributes string
	state              seriesState
}

type opcode byte

const (
	opAdd         opcode = iota // adds state.value, and creates the series if need be
	opSet                       // sets the whole state
	opAcknowledge               // sets acknowledged and zeroAcknowledged
	opEnd                       // removes the series
)

// seriesState is what is kept of a series.
type seriesState struct {
	value int64
	// acknowledged is the part of value that the metrics pipelines accepted, zeroAcknowledged
	// whether they accepted its first point, which is a zero.
	acknowledged     int64
	zeroAcknowledged bool
	// start is a time when the series was zero, zeroTime that of its first point, counted that of
	// its last count.
	start, zeroTime, counted int64
}

// value is what SetValue keeps.
type value struct{ name, content string }

func (r *record) empty() bool {
	return len(r.reports) == 0 && len(r.series) == 0 && len(r.values) == 0 && r.collected == 0
}

// merge appends the changes of another record.
func (r *record) merge(other *record) {
	r.reports = append(r.reports, other.reports...)
	r.series = append(r.series, other.series...)
	r.values = append(r.values, other.values...)
	r.collected = max(r.collected, other.collected)
	r.acknowledged = max(r.acknowledged, other.acknowledged)
}

func (r *record) encode() []byte {
	var c codec
	switch {
	case len(r.reports) > 0:
		c.base = r.reports[0].committed
	case len(r.series) > 0:
		c.base = r.series[0].state.counted
	}
	r.codeBody(&c)
	body := c.buf
	c.buf = nil
	r.codeHead(&c)
	return append(c.buf, body...)
}

// decodeRecord returns a record that shares no memory with b.
func decodeRecord(b []byte) (*record, error) {
	r, c := new(record), codec{reading: true, buf: b}
	r.codeHead(&c)
	r.codeBody(&c)
	c.check(len(c.buf) == 0)
	if c.failed {
		return nil, errors.New("it is no record")
	}
	return r, nil
}

// codeHead writes or reads what comes before the body.
func (r *record) codeHead(c *codec) {
	c.int(&c.base)
	c.int(&r.collected)
	c.int(&r.acknowledged)
	codeSlice(c, &r.values, func(v *value) {
		c.string(&v.name)
		c.string(&v.content)
	})
	codeSlice(c, &c.names, c.string)
}

// codeBody writes or reads the reports and series.
func (r *record) codeBody(c *codec) {
	codeSlice(c, &r.reports, func(rep *report) {
		c.name(&rep.kind)
		c.bytes(rep.id[:])
		c.byte((*byte)(&rep.outcome))
		c.time(&rep.committed)
		c.check(rep.outcome == Accepted || rep.outcome == Refused)
	})
	codeSlice(c, &r.series, func(op *seriesOp) {
		s := &op.state
		c.byte((*byte)(&op.op))
		c.name(&op.metric)
		c.string(&op.attributes)
		if op.op == opAdd || op.op == opSet {
			c.int(&s.value)
			c.time(&s.start)
			c.time(&s.zeroTime)
			c.time(&s.counted)
		}
		if op.op == opSet || op.op == opAcknowledge {
			c.int(&s.acknowledged)
			c.bool(&s.zeroAcknowledged)
		}
		c.check(op.op <= opEnd && s.value >= 0 && s.acknowledged >= 0)
		c.check(op.op != opSet || s.acknowledged <= s.value)
	})
}

// codec writes a record to buf, or reads one from there, so that the format is described only once.
// Integers are varints. Times are relative to base, so that most take few bytes. Names of kinds and
// metrics are in the head, and the body has their indexes.
type codec struct {
	reading, failed bool
	buf             []byte
	base            int64
	names           []string
}

// check fails what is read unless ok. After a failure there is nothing more to read.
func (c *codec) check(ok bool) {
	if c.reading && !ok {
		c.failed, c.buf = true, nil
	}
}

func (c *codec) int(v *int64) {
	if !c.reading {
		c.buf = binary.AppendVarint(c.buf, *v)
		return
	}
	var n int
	*v, n = binary.Varint(c.buf)
	c.check(n > 0)
	c.buf = c.buf[max(n, 0):]
}

func (c *codec) uint(v *int) {
	if !c.reading {
		c.buf = binary.AppendUvarint(c.buf, uint64(*v))
		return
	}
	read, n := binary.Uvarint(c.buf)
	*v = int(read)
	c.check(n > 0)
	c.buf = c.buf[max(n, 0):]
}

func (c *codec) time(t *int64) {
	offset := *t - c.base
	c.int(&offset)
	*t = c.base + offset
}

// length returns how many bytes follow, or items of at least one byte.
func (c *codec) length(n int) int {
	c.uint(&n)
	c.check(0 <= n && n <= len(c.buf))
	if c.failed {
		return 0
	}
	return n
}

func (c *codec) bytes(b []byte) {
	if !c.reading {
		c.buf = append(c.buf, b...)
		return
	}
	c.check(len(b) <= len(c.buf))
	c.buf = c.buf[copy(b, c.buf):]
}

func (c *codec) byte(v *byte) {
	b := []byte{*v}
	c.bytes(b)
	*v = b[0]
}

func (c *codec) bool(v *bool) {
	var b byte
	if *v {
		b = 1
	}
	c.byte(&b)
	*v = b != 0
}

func (c *codec) string(s *string) {
	n := c.length(len(*s))
	if !c.reading {
		c.buf = append(c.buf, *s...)
		return
	}
	*s, c.buf = string(c.buf[:n]), c.buf[n:]
}

func (c *codec) name(name *string) {
	i := slices.Index(c.names, *name)
	if !c.reading && i < 0 {
		i = len(c.names)
		c.names = append(c.names, *name)
	}
	c.uint(&i)
	c.check(0 <= i && i < len(c.names))
	if c.reading && !c.failed {
		*name = c.names[i]
	}
}

func codeSlice[T any](c *codec, items *[]T, code func(*T)) {
	n := c.length(len(*items))
	if c.reading {
		*items = make([]T, n)
	}
	for i := range *items {
		code(&(*items)[i])
	}
}
