package ledger

import (
	"encoding/binary"
	"errors"
)

// record is one change of a ledger. A store keeps records and nothing else: applied in their order to an empty ledger,
// they make it what it was.
type record struct {
	seen   []seen
	series []seriesOp
	values []value
	// collected is the latest time that a point may have had, acknowledged that of the last collection that was
	// acknowledged; 0 where the record does not change them.
	collected, acknowledged int64
}

func (r *record) empty() bool {
	return len(r.seen) == 0 && len(r.series) == 0 && len(r.values) == 0 && r.collected == 0
}

// seen is a committed report.
type seen struct {
	kind    string
	id      ID
	outcome Outcome
	at      int64
}

// seriesOp is what a record does to one series.
type seriesOp struct {
	op                 opcode
	metric, attributes string
	state              seriesState
}

type opcode byte

const (
	// opAdd adds state.value to the series, and makes it first where it is not there yet.
	opAdd opcode = iota
	// opSet makes the series what state says.
	opSet
	// opAcknowledge notes what the metrics pipelines have of the series: state.acknowledged and state.zeroAcknowledged.
	opAcknowledge
	// opEnd forgets the series.
	opEnd
)

// seriesState is all there is to know of a series. Times are nanoseconds since 1970.
type seriesState struct {
	value int64
	// acknowledged is the part of value that the metrics pipelines have, zeroAcknowledged whether they have its zero.
	acknowledged     int64
	zeroAcknowledged bool
	// start is when the series was certainly zero, zero the time of its first point, counted when it was last counted.
	start, zero, counted int64
}

// value is bytes that the ledger keeps for its owner.
type value struct {
	name    string
	content []byte
}

// In a record's bytes, names of kinds and metrics come once, in front, and are referred to by their number. Numbers are
// varints, and times count from the first in the record, so that most take few bytes.

func (r *record) encode() []byte {
	base := r.base()
	numbers := make(map[string]uint64)
	var names []string
	number := func(name string) uint64 {
		n, ok := numbers[name]
		if !ok {
			n = uint64(len(names))
			numbers[name] = n
			names = append(names, name)
		}
		return n
	}
	body := make([]byte, 0, 64+24*len(r.seen)+160*len(r.series))
	body = binary.AppendUvarint(body, uint64(len(r.seen)))
	for i := range r.seen {
		s := &r.seen[i]
		body = binary.AppendUvarint(body, number(s.kind))
		body = append(body, s.id[:]...)
		body = append(body, byte(s.outcome))
		body = binary.AppendVarint(body, s.at-base)
	}
	body = binary.AppendUvarint(body, uint64(len(r.series)))
	for i := range r.series {
		o := &r.series[i]
		body = binary.AppendUvarint(append(body, byte(o.op)), number(o.metric))
		body = appendText(body, o.attributes)
		s := &o.state
		if o.op == opAdd || o.op == opSet {
			body = binary.AppendVarint(body, s.value)
			body = binary.AppendVarint(body, s.start-base)
			body = binary.AppendVarint(body, s.zero-base)
			body = binary.AppendVarint(body, s.counted-base)
		}
		if o.op == opSet || o.op == opAcknowledge {
			body = append(binary.AppendVarint(body, s.acknowledged), oneIf(s.zeroAcknowledged))
		}
	}

	head := binary.AppendVarint(nil, base)
	head = binary.AppendVarint(head, r.collected)
	head = binary.AppendVarint(head, r.acknowledged)
	head = binary.AppendUvarint(head, uint64(len(r.values)))
	for _, v := range r.values {
		head = appendText(appendText(head, v.name), string(v.content))
	}
	head = binary.AppendUvarint(head, uint64(len(names)))
	for _, name := range names {
		head = appendText(head, name)
	}
	return append(head, body...)
}

func (r *record) base() int64 {
	switch {
	case len(r.seen) > 0:
		return r.seen[0].at
	case len(r.series) > 0:
		return r.series[0].state.counted
	}
	return 0
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func oneIf(set bool) byte {
	if set {
		return 1
	}
	return 0
}

var errRecord = errors.New("it is no record")

// decodeRecord returns a record that shares no memory with b.
func decodeRecord(b []byte) (*record, error) {
	d := decoder{rest: b}
	base := d.varint()
	r := &record{collected: d.varint(), acknowledged: d.varint()}
	for n := d.count(); n > 0; n-- {
		r.values = append(r.values, value{d.text(), []byte(d.text())})
	}
	var names []string
	for n := d.count(); n > 0; n-- {
		names = append(names, d.text())
	}
	name := func() string {
		n := d.uvarint()
		if n >= uint64(len(names)) {
			d.failed = true
			return ""
		}
		return names[n]
	}
	for n := d.count(); n > 0; n-- {
		s := seen{kind: name()}
		copy(s.id[:], d.take(uint64(len(s.id))))
		s.outcome = Outcome(d.byte())
		s.at = base + d.varint()
		d.failed = d.failed || s.outcome != Accepted && s.outcome != Refused
		r.seen = append(r.seen, s)
	}
	for n := d.count(); n > 0; n-- {
		o := seriesOp{op: opcode(d.byte()), metric: name(), attributes: d.text()}
		if o.op == opAdd || o.op == opSet {
			o.state.value = d.varint()
			o.state.start, o.state.zero, o.state.counted = base+d.varint(), base+d.varint(), base+d.varint()
		}
		if o.op == opSet || o.op == opAcknowledge {
			o.state.acknowledged, o.state.zeroAcknowledged = d.varint(), d.byte() != 0
		}
		s := &o.state
		d.failed = d.failed || o.op > opEnd || s.value < 0 || s.acknowledged < 0 || o.op == opSet && s.acknowledged > s.value
		r.series = append(r.series, o)
	}
	if d.failed || len(d.rest) > 0 {
		return nil, errRecord
	}
	return r, nil
}

// decoder reads from the front of what there is. Once it has failed, all that it reads is nothing.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) take(n uint64) []byte {
	if d.failed || n > uint64(len(d.rest)) {
		d.rest, d.failed = nil, true
		return nil
	}
	taken := d.rest[:n]
	d.rest = d.rest[n:]
	return taken
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || d.take(uint64(n)) == nil {
		d.failed = true
		return 0
	}
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 || d.take(uint64(n)) == nil {
		d.failed = true
		return 0
	}
	return v
}

// count returns how many things follow, each of which takes a byte at least.
func (d *decoder) count() uint64 {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.failed = true
		return 0
	}
	return n
}

func (d *decoder) text() string { return string(d.take(d.uvarint())) }
