package fill

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/problem"
)

// PageTTL is how long a page of a folder is fresh.
const PageTTL = 5 * time.Second

// Bounds of the pages of one bucket.
const (
	maxPages        = 256      // kept
	maxPageBytes    = 8 << 20  // of memory for them, with their bodies
	maxLists        = 32       // lists that the origin is asked for at once
	maxClientLists  = 8        // of them for one client
	maxOwnBytes     = 64 << 20 // of bodies on their way that are for one client alone
	entryOverhead   = 80       // bytes of memory for an entry, beside its key
	complaintsEvery = time.Minute
)

// Pages are the pages of a bucket's folders, as the origin lists them, whoever may read what is
// on them. Those who want the same page at once wait for one list, and for a few seconds after it
// they get what it has brought. Safe for concurrent use. Get one by NewPages.
type Pages struct {
	now func() time.Time
	own atomic.Int64 // bytes of bodies on their way that are for one client alone

	mu         sync.Mutex // guards the following fields, and size and bodies of each page
	kept       map[string]*Page
	order      []*Page // those kept, the oldest first
	bytes      int64   // of memory for them
	flights    map[string]*pageFlight
	clients    map[uint64]int // flights that each client leads
	complained time.Time      // that the origin lists nothing
}

// Forms is how many forms a page has.
const Forms = 2

// Page is a page of a folder, in memory. What is exported does not change.
type Page struct {
	*origin.Folder
	in    *Pages
	key   string
	fresh time.Time // until then it is, by the clock of Pages
	ends  time.Time // until then it is kept
	size  int64     // bytes of memory
	forms [Forms]struct {
		once sync.Once
		body []byte
	}
}

// pageFlight is a list under way.
type pageFlight struct {
	done chan struct{} // closed when the following fields are set
	page *Page
	err  error
}

// NewPages returns a Pages with no page. now is the clock for freshness.
func NewPages(now func() time.Time) *Pages {
	return &Pages{now: now, kept: make(map[string]*Page), flights: make(map[string]*pageFlight), clients: make(map[uint64]int)}
}

// Page returns the page of a folder that begins behind the key after. Unless it is kept or under
// way, ask brings it, for the client with a key as in origin.Fetch. An error is an *origin.Error.
func (p *Pages) Page(folder, after []byte, client uint64, ask func() (*origin.Folder, error)) (*Page, error) {
	key := string(folder) + "\x00" + string(after) // no folder's key has such a byte
	for first := true; ; first = false {
		page, f, leads := p.join(key, client)
		switch {
		case page != nil:
			return page, nil
		case f == nil:
			return nil, errManyLists
		case leads:
			return p.lead(f, key, client, ask)
		}
		<-f.done
		if first && isBusy(f.err) {
			continue // that was the share of the other's client
		}
		return f.page, f.err
	}
}

// errManyLists says that too many lists are under way.
var errManyLists = &origin.Error{Problem: problem.Busy, Reason: "lists"}

// isBusy tells whether a list was not asked for, or not to the end, because others are.
func isBusy(err error) bool {
	e, ok := errors.AsType[*origin.Error](err)
	return ok && e.Problem == problem.Busy
}

// join returns the page if it is fresh; or else the flight that brings it, which the caller may
// have to lead, nil if too many are under way.
func (p *Pages) join(key string, client uint64) (page *Page, f *pageFlight, leads bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if page = p.kept[key]; page != nil && p.now().Before(page.fresh) {
		return page, nil, false
	}
	if f = p.flights[key]; f != nil {
		return nil, f, false
	}
	if len(p.flights) >= maxLists || p.clients[client] >= maxClientLists {
		return nil, nil, false
	}
	f = &pageFlight{done: make(chan struct{}), err: &origin.Error{Problem: problem.Broken, Reason: problem.Panic.Reason}}
	p.flights[key] = f
	p.clients[client]++
	return nil, f, true
}

// lead brings the page of a flight, and ends it, also if ask panics.
func (p *Pages) lead(f *pageFlight, key string, client uint64, ask func() (*origin.Folder, error)) (*Page, error) {
	asked := p.now()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.flights, key)
		if p.clients[client]--; p.clients[client] == 0 {
			delete(p.clients, client)
		}
		if f.page != nil {
			p.keep(f.page)
		}
		close(f.done)
	}()
	folder, err := ask()
	if f.err = err; err == nil {
		f.page = &Page{Folder: folder, in: p, key: key, fresh: asked.Add(PageTTL), size: int64(len(key)) + entryOverhead}
		for i := range folder.Entries {
			f.page.size += int64(len(folder.Entries[i].Key)) + entryOverhead
		}
	}
	return f.page, f.err
}

// keep keeps a page for a while, in the place of the oldest. The caller holds p.mu.
func (p *Pages) keep(page *Page) {
	if old := p.kept[page.key]; old != nil {
		p.drop(old)
	}
	page.ends = time.Now().Add(PageTTL)
	p.kept[page.key] = page
	p.order = append(p.order, page)
	p.bytes += page.size
	p.makeRoom()
	time.AfterFunc(PageTTL, p.sweep) // ends with sweep
}

// makeRoom drops the oldest pages until the others fit. The caller holds p.mu.
func (p *Pages) makeRoom() {
	for len(p.order) > 0 && (len(p.order) > maxPages || p.bytes > maxPageBytes) {
		p.drop(p.order[0])
	}
}

// sweep drops the pages whose time has come.
func (p *Pages) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for now := time.Now(); len(p.order) > 0 && !now.Before(p.order[0].ends); {
		p.drop(p.order[0])
	}
}

// drop drops a page. The caller holds p.mu.
func (p *Pages) drop(page *Page) {
	delete(p.kept, page.key)
	p.bytes -= page.size
	i := slices.Index(p.order, page)
	p.order = slices.Delete(p.order, i, i+1)
}

// Body returns the body of a form of the page with all of its entries, which write makes if it is
// not there. Nobody may change it.
func (page *Page) Body(form int, write func() []byte) []byte {
	f := &page.forms[form]
	f.once.Do(func() {
		f.body = write()
		p := page.in
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.kept[page.key] == page {
			page.size += int64(len(f.body))
			p.bytes += int64(len(f.body))
			p.makeRoom()
		}
	})
	return f.body
}

// Hold counts the n bytes of a body that is for one client alone until Return, unless too many are
// on their way.
func (p *Pages) Hold(n int) error {
	if p.own.Add(int64(n)) > maxOwnBytes {
		p.own.Add(-int64(n))
		return errManyLists
	}
	return nil
}

// Return ends what Hold began.
func (p *Pages) Return(n int) { p.own.Add(-int64(n)) }

// Complains tells whether to say that the origin does not let the bucket be listed: from time to
// time, not to each who asks.
func (p *Pages) Complains() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if !p.complained.IsZero() && now.Sub(p.complained) < complaintsEvery {
		return false
	}
	p.complained = now
	return true
}
