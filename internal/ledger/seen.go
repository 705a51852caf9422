package ledger

// remembered are the committed reports of one kind, in the order of their commits.
type remembered struct {
	outcomes map[ID]Outcome
	// ring holds the reports from index first on, count of them; it grows until it has room for as many as may be
	// remembered.
	ring         []remembering
	first, count int
	// evicted is how many had to make room.
	evicted int64
}

type remembering struct {
	id ID
	at int64
}

// add remembers a report that is not remembered yet. Where there are most already, the oldest makes room for it.
func (r *remembered) add(id ID, outcome Outcome, at int64, most int) {
	if r.count >= most {
		r.removeOldest()
		r.evicted++
	}
	if r.count == len(r.ring) {
		grown := make([]remembering, min(max(2*len(r.ring), 64), most))
		copy(grown[copy(grown, r.ring[r.first:]):], r.ring[:r.first])
		r.ring, r.first = grown, 0
	}
	r.ring[(r.first+r.count)%len(r.ring)] = remembering{id, at}
	r.count++
	r.outcomes[id] = outcome
}

// expire forgets the reports that were committed at that time or before.
func (r *remembered) expire(until int64) {
	for r.count > 0 && r.ring[r.first].at <= until {
		r.removeOldest()
	}
}

func (r *remembered) removeOldest() {
	delete(r.outcomes, r.ring[r.first].id)
	r.first = (r.first + 1) % len(r.ring)
	r.count--
}

// each calls do with the reports from the oldest on.
func (r *remembered) each(do func(id ID, outcome Outcome, at int64)) {
	for i := range r.count {
		e := r.ring[(r.first+i)%len(r.ring)]
		do(e.id, r.outcomes[e.id], e.at)
	}
}
