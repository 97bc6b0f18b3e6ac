// Package listing makes pages of folders: it asks an origin for what is in them, keeps that for a
// few seconds, and shows to each client what it may see of it. Begin with Pages.Write.
package listing

import (
	"time"

	"yatagarasu/gateway/config/upstream"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/web"
)

// Pages are the pages of a bucket's folders. Safe for concurrent use. Get one by New.
type Pages struct {
	*Options
	Room *Room
	*lists
}

// Options are what the pages of a bucket are made by.
type Options struct {
	Prefix  string // of the bucket's paths
	Origin  *origin.Bucket
	Keys    request.Keys
	Listing *web.Listing
	Private bool             // a client sees what Query.Reads says, not all
	Now     func() time.Time // for the age of pages
}

// New returns a Pages with no page in memory, in the place of old, which may be nil.
func New(o *Options, old *Pages) *Pages {
	p := &Pages{Options: o}
	if old != nil {
		p.Room = old.Room
	} else {
		p.Room = newRoom()
	}
	p.lists = newLists(p.Room, o.Now)
	return p
}

// Offers tells whether there is a listing of a folder, by its key. p may be nil: it has none.
func (p *Pages) Offers(folder []byte) bool { return p != nil && p.Listing.Offers(string(folder)) }

// filters tells whether clients see less of a folder than the origin lists.
func (p *Pages) filters() bool { return p.Private || p.Listing.HidesAny() }

// ListSize returns how many entries the origin is asked for at once: where clients see less of
// them, as many as it gives.
func (p *Pages) ListSize() int {
	if p.filters() {
		return upstream.MostListed
	}
	return p.Listing.PageSize
}

// Place returns the key behind which a request for a folder wants the page to begin; nil: at the
// first one.
func (p *Pages) Place(t *request.Target, folder []byte) ([]byte, *problem.Problem) {
	after, flaw := t.StartAfter(folder, p.Keys)
	if flaw != nil {
		return nil, flaw
	}
	text, flaw := t.Continue()
	if flaw != nil || text == nil {
		return after, flaw
	}
	place, ok := p.Room.place(folder, text)
	if !ok || after != nil {
		return nil, request.UnknownPlace
	}
	return place, nil
}

// Query is what a client asks for: a page of a folder that Offers has.
type Query struct {
	Folder []byte // its key
	After  []byte // key behind which the page begins, see Place
	Accept []byte // header of the request
	Client uint64 // key of its address, see limit.AddressKey
	// Reads tells whether the client may read a key; nil where the pages are not Private.
	Reads func(key []byte) bool

	Notes     *observe.Upstream // of requests to the origin, as ID and Trace, see origin.Bucket.NewFetch
	ID, Trace []byte
}

// Page is a page as a client gets it.
type Page struct {
	Format web.Format
	Body   *Body
	Fresh  time.Duration // how long it is so
}

// Write returns the page that q asks for. An error is an *origin.Error.
func (p *Pages) Write(q *Query) (Page, error) {
	v, err := p.view(q)
	if err != nil {
		return Page{}, err
	}
	continued := len(q.After) > 0
	place, secret := v.end()
	if len(v.entries) == 0 && !v.more && !v.marked && !continued {
		return Page{}, errNoFolder
	}
	shown := v.page(p.Prefix, continued, place)
	format := p.Listing.Format(func(first, second string) bool { return request.Prefers(q.Accept, first, second) })
	size := p.Listing.Size(format, shown, len(v.entries), v.keyBytes())
	write := func() []byte {
		if v.fill(shown, p.Keys); v.more && secret {
			shown.Place = p.Room.hide(q.Folder, []byte(place))
		}
		return p.Listing.Write(format, shown)
	}
	var body *Body
	if v.alike() {
		body, err = v.first.body(format, q.Client, size, write)
	} else {
		body, err = p.Room.write(q.Client, size, write)
	}
	return Page{Format: format, Body: body, Fresh: v.fresh}, err
}

// errNoFolder is the error for a folder of which a client sees nothing, as if what it may not see
// were not there.
var errNoFolder = &origin.Error{Problem: problem.NoFolder}

// ask asks the origin for a page of the folder of q that begins behind a key.
func (p *Pages) ask(q *Query, after []byte) (*origin.Folder, error) {
	f := p.Origin.NewList(q.Notes, q.Folder, after, p.ListSize(), q.ID, q.Trace)
	defer f.Release()
	f.Client = q.Client
	folder, err := f.List()
	switch {
	case err != nil:
		return nil, origin.NewError(err)
	case folder != nil:
		return folder, nil
	}
	denied := f.MayNotList()
	kind := f.NoteOriginError()
	if !denied {
		return nil, &origin.Error{Problem: &kind.Problem, Reason: kind.Reason}
	}
	if p.complains() {
		p.Origin.Shared.Log.Warn().Bytes("request_id", q.ID).Str("bucket", p.Origin.Name).
			Msg("the origin does not let the gateway list a folder: the credential needs s3:ListBucket on the bucket")
	}
	return nil, &origin.Error{Problem: problem.ListingDenied, Reason: problem.ListingDenied.Code}
}
