package gateway

import (
	"strconv"
	"time"
)

// diffAnswer is what a request may be answered with.
type diffAnswer struct {
	says     []string   // X-Cache, one of these
	statuses []int      // of an answer that is no object's
	entry    *diffEntry // whose object the answer is about; nil: none
	memory   bool       // all of it is in memory: several parts may be cut from it
	cut      bool       // the origin breaks off
	why      string     // fwd of Cache-Status, should the answer take the origin

	// What the origin is asked.
	least, most          int
	whole, direct        bool   // for the whole object; what the client asks for
	denied               bool   // what it says to a HEAD is asked again
	validator, validates string // of a request for the whole: name, value
}

// answer says what q, which comes at now, may be answered with, and does to the
// entries what the cache does.
func (m *diffModel) answer(b *diffBucket, target string, q *diffRequest, now time.Time) *diffAnswer {
	w := &noWishes
	if b.directives {
		w = &q.wishes
	}
	e := m.get(target, w, now)
	a := &diffAnswer{entry: e, memory: true}
	a.validator, a.validates = m.entries[target].validator()
	u, why := useOf(e, w, now), e.forwarded(now)
	switch {
	case u == useRefused, u == useFresh && e.version == nil && w.onlyIfCached:
		return &diffAnswer{says: []string{"BYPASS"}, statuses: []int{504}}
	case u == useFresh && e.version == nil:
		m.direct(a, target, q, now, "BYPASS")
	case u == useFresh:
		a.says = []string{"HIT"}
	case u == useStale:
		a.says = []string{"STALE"}
		m.ask(a, b, target, now)
	case w.noStore: // RFC 9111, 5.2.1.5
		m.direct(a, target, q, now, "BYPASS")
	case e == nil && q.method == "HEAD":
		m.direct(a, target, q, now, "MISS")
	case e == nil && q.wantsPart():
		m.direct(a, target, q, now, "MISS")
		if b.fill {
			m.ask(a, b, target, now)
		}
	default:
		m.lead(a, b, target, q, w, now)
	}
	if u != useStale {
		a.why = why
	}
	if a.entry != nil && a.entry.version.gone {
		a.entry, a.statuses = nil, []int{404}
	}
	return a
}

// ask has the cache ask for the whole object.
func (m *diffModel) ask(a *diffAnswer, b *diffBucket, target string, now time.Time) (*diffEntry, brought) {
	a.whole, a.least, a.most = true, a.least+1, a.most+1
	if v := m.current(target); a.validator == "If-Modified-Since" && !m.validated(v, m.entries[target]) {
		a.most++ // a 304 may be about another version
	}
	if m.origin.fault == "abort" {
		a.most *= 2 // on a kept connection
	}
	return m.refresh(b, target, now)
}

// direct is the origin's answer to what the client asks for.
func (m *diffModel) direct(a *diffAnswer, target string, q *diffRequest, now time.Time, says string) {
	v := m.current(target)
	*a = diffAnswer{says: []string{says}, least: 1, most: 1, direct: true, validator: a.validator, validates: a.validates}
	if len(q.lines) > 0 {
		a.most = 3 // If-Range that does not hold, 304 and 416 that do not say enough, HEAD that fails
	}
	switch m.origin.fault {
	case "503":
		a.statuses = []int{503}
	case "500":
		a.statuses = []int{502}
	case "403":
		a.statuses = []int{403}
		a.denied, a.most = true, 2
	case "abort":
		a.statuses = []int{502}
		a.most *= 2
	default:
		a.entry = &diffEntry{version: v, head: clientHead(v.head), asked: now}
		age, _ := strconv.Atoi(v.head.Get("Age"))
		a.entry.life.received = time.Duration(age) * time.Second
		a.cut = m.origin.fault == "cut"
	}
}

// lead is the answer for which the cache asks for the whole object.
func (m *diffModel) lead(a *diffAnswer, b *diffBucket, target string, q *diffRequest, w *diffWishes, now time.Time) {
	stale := a.entry
	n, how := m.ask(a, b, target, now)
	a.entry, a.says = n, []string{"MISS"}
	switch {
	case how == broughtFailure && n != nil && len(n.version.body) > diffBuffer:
		a.memory, a.cut = false, true
		a.partly(q)
	case how == broughtFailure:
		a.entry = nil
		a.statuses = map[string][]int{"503": {503}, "500": {502}, "403": {403}, "abort": {502}, "cut": {502}}[m.origin.fault]
		u := useOf(stale, w, now.Add(m.origin.delay))
		if stale != nil && m.origin.fault != "403" && (u == useFresh || u == useStale || u == useOnError) {
			a.entry, a.statuses, a.says = stale, nil, []string{"STALE"}
		}
	case how == broughtUnchanged:
		a.says = []string{"REVALIDATED"}
	case how == broughtPassed:
		a.says = []string{"MISS", "BYPASS"}
		a.memory, a.cut = false, m.origin.fault == "cut"
		a.partly(q)
	case how == broughtNone:
		a.entry, a.statuses = nil, []int{404}
	case len(n.version.body) > diffBuffer:
		a.memory = false // the client has it as it arrives
		a.partly(q)
	}
}

// partly allows a request for the part that the client wants, beside that for the
// whole.
func (a *diffAnswer) partly(q *diffRequest) {
	if q.wantsPart() {
		a.direct, a.most = true, a.most+3
	}
}

// status returns the statuses that RFC 9110 allows, and docs/CACHE.md promises, for an
// answer about the entry's object.
func (a *diffAnswer) status(q *diffRequest, quirks *diffQuirks) []int {
	size := len(a.entry.version.body)
	etag, modified := a.entry.head.Get("Etag"), dateOf(a.entry.head.Get("Last-Modified"))
	if s := q.precondition(etag, modified); s != 0 {
		return []int{s}
	}
	if !q.ranged(etag, modified) {
		return []int{200}
	}
	wanted, some, ascending, end := 0, 0, true, -1
	for _, p := range q.ranges {
		if first, last, ok := p.within(size); ok {
			some++
			wanted += last - first + 1
			ascending = ascending && first > end
			end = last
		}
	}
	switch {
	case len(q.ranges) == 1 && a.direct && quirks.noRanges:
		return []int{200, 206, 416}
	case len(q.ranges) == 1 && some == 1:
		return []int{206}
	case len(q.ranges) == 1:
		return []int{416}
	case !a.memory && a.whole:
		return []int{200, 416}
	case !a.memory:
		return []int{200}
	case len(q.ranges) > 16:
		return []int{200}
	case some == 0:
		return []int{416}
	case ascending && wanted+len(q.ranges)*boundPartGap < size:
		return []int{206}
	}
	return []int{200, 206}
}
