package listing

import (
	"errors"
	"slices"
	"sync"
	"time"

	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/web"
)

// freshFor is how long a page of a folder is fresh.
const freshFor = 5 * time.Second

// Bounds of the pages of one bucket.
const (
	maxPages        = 256      // kept
	maxPageBytes    = 16 << 20 // of memory for them, with their bodies
	maxLists        = 32       // lists that the origin is asked for at once
	maxClientLists  = 8        // of them for one client
	entryOverhead   = 80       // bytes of memory for an entry, beside its key
	complaintsEvery = time.Minute
)

// lists are the pages of a bucket's folders, as the origin lists them, whoever may read what is
// on them. Those who want the same page at once wait for one list, and for a few seconds after it
// they get what it has brought. Safe for concurrent use.
type lists struct {
	room *Room
	now  func() time.Time

	mu         sync.Mutex // guards the following fields, and size of each list
	kept       map[string]*list
	order      []*list // those kept, the oldest first
	bytes      int64   // of memory for them
	flights    map[string]*flight
	clients    map[uint64]int // flights that each client leads
	complained time.Time      // when the log last said that the origin does not list
}

// list is a page of a folder, in memory. What is exported does not change.
type list struct {
	*origin.Folder
	in    *lists
	key   string
	fresh time.Time // until then it is, by the clock of lists
	ends  time.Time // until then it is kept
	size  int64     // bytes of memory
	forms [web.NumFormats]form
}

// form is a form of a page with all of its entries.
type form struct {
	mu   sync.Mutex // guards body, and is held while that is made
	body *Body      // nil: not made yet
}

// flight is a list under way.
type flight struct {
	done chan struct{} // closed when the following fields are set
	page *list
	err  error
}

func newLists(room *Room, now func() time.Time) *lists {
	return &lists{room: room, now: now, kept: make(map[string]*list), flights: make(map[string]*flight), clients: make(map[uint64]int)}
}

// list returns the page of a folder that begins behind the key after. Unless it is kept or under
// way, ask brings it, for the client with a key as in origin.Fetch. An error is an *origin.Error.
func (p *lists) list(folder, after []byte, client uint64, ask func() (*origin.Folder, error)) (*list, error) {
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
func (p *lists) join(key string, client uint64) (page *list, f *flight, leads bool) {
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
	f = &flight{done: make(chan struct{}), err: &origin.Error{Problem: problem.Broken, Reason: problem.Panic.Reason}}
	p.flights[key] = f
	p.clients[client]++
	return nil, f, true
}

// lead brings the page of a flight, and ends it, also if ask panics.
func (p *lists) lead(f *flight, key string, client uint64, ask func() (*origin.Folder, error)) (*list, error) {
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
		f.page = &list{Folder: folder, in: p, key: key, fresh: asked.Add(freshFor), size: int64(len(key)) + entryOverhead}
		for i := range folder.Entries {
			f.page.size += int64(len(folder.Entries[i].Key)) + entryOverhead
		}
	}
	return f.page, f.err
}

// keep keeps a page for a while, in the place of the oldest. The caller holds p.mu.
func (p *lists) keep(page *list) {
	if old := p.kept[page.key]; old != nil {
		p.drop(old)
	}
	page.ends = time.Now().Add(freshFor)
	p.kept[page.key] = page
	p.order = append(p.order, page)
	p.bytes += page.size
	p.makeRoom()
	time.AfterFunc(freshFor, p.sweep) // ends with sweep
}

// makeRoom drops the oldest pages until the others fit. The caller holds p.mu.
func (p *lists) makeRoom() {
	for len(p.order) > 0 && (len(p.order) > maxPages || p.bytes > maxPageBytes) {
		p.drop(p.order[0])
	}
}

// sweep drops the pages whose time has come.
func (p *lists) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for now := time.Now(); len(p.order) > 0 && !now.Before(p.order[0].ends); {
		p.drop(p.order[0])
	}
}

// drop drops a page. The caller holds p.mu.
func (p *lists) drop(page *list) {
	delete(p.kept, page.key)
	p.bytes -= page.size
	i := slices.Index(p.order, page)
	p.order = slices.Delete(p.order, i, i+1)
}

// left returns how long the page is still fresh.
func (page *list) left() time.Duration { return max(page.fresh.Sub(page.in.now()), 0) }

// body returns a form of the page with all of its entries for a client. If it is not there, write
// makes it, of at most size bytes.
func (page *list) body(f web.Format, client uint64, size int, write func() []byte) (*Body, error) {
	form := &page.forms[f]
	form.mu.Lock()
	defer form.mu.Unlock()
	if form.body != nil {
		return form.body, nil
	}
	body, err := page.in.room.write(client, size, write)
	if err != nil {
		return nil, err
	}
	form.body = body
	p := page.in
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept[page.key] == page {
		page.size += int64(len(body.Bytes))
		p.bytes += int64(len(body.Bytes))
		p.makeRoom()
	}
	return body, nil
}

// complains tells whether to say that the origin does not let the bucket be listed: from time to
// time, not to each who asks.
func (p *lists) complains() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if !p.complained.IsZero() && now.Sub(p.complained) < complaintsEvery {
		return false
	}
	p.complained = now
	return true
}
