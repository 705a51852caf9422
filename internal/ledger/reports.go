package ledger

import "time"

// reportCache has the committed reports of one kind. The oldest are evicted when it is full.
type reportCache struct {
	outcomes map[ID]Outcome
	order    []cachedReport // in the order of their commits
	evicted  int64          // reports that were evicted before their TTL
}

type cachedReport struct {
	id        ID
	committed int64 // in nanoseconds since 1970
}

// remember caches a committed report, unless it is cached already.
func (l *Ledger) remember(r *report) {
	if !l.options.Deduplicate {
		return
	}
	cache := l.reports[r.kind]
	if cache == nil {
		cache = &reportCache{outcomes: make(map[ID]Outcome)}
		l.reports[r.kind] = cache
	}
	if cache.outcomes[r.id] != 0 {
		return
	}
	if len(cache.order) >= l.options.MaxEntries {
		cache.removeOldest()
		cache.evicted++
	}
	cache.order = append(cache.order, cachedReport{r.id, r.committed})
	cache.outcomes[r.id] = r.outcome
}

// expire forgets the reports that are older than the TTL.
func (l *Ledger) expire(now time.Time) {
	until := l.monotonic(now) - int64(l.options.TTL)
	for _, cache := range l.reports {
		for len(cache.order) > 0 && cache.order[0].committed <= until {
			cache.removeOldest()
		}
	}
}

func (c *reportCache) removeOldest() {
	delete(c.outcomes, c.order[0].id)
	c.order = c.order[1:]
}
