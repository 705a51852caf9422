package ledger

// reportCache has the committed reports of one kind. The oldest are evicted when it is full.
type reportCache struct {
	outcomes map[ID]Outcome
	// order has the reports in the order of their commits.
	order []cachedReport
	// evicted is the number of reports that were evicted before their time to live was over.
	evicted int64
}

type cachedReport struct {
	id ID
	// committed is the time of the commit in nanoseconds since 1970.
	committed int64
}

// insert adds a report that is not cached yet.
func (c *reportCache) insert(r *report, maxEntries int) {
	if len(c.order) >= maxEntries {
		c.removeOldest()
		c.evicted++
	}
	c.order = append(c.order, cachedReport{r.id, r.committed})
	c.outcomes[r.id] = r.outcome
}

// expire removes the reports that were committed at the given time or before.
func (c *reportCache) expire(until int64) {
	for len(c.order) > 0 && c.order[0].committed <= until {
		c.removeOldest()
	}
}

func (c *reportCache) removeOldest() {
	delete(c.outcomes, c.order[0].id)
	c.order = c.order[1:]
}
