package listing

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/problem"
)

// folder returns a page with n entries whose keys are of some length.
func folder(n, length int) *origin.Folder {
	f := new(origin.Folder)
	for i := range n {
		f.Entries = append(f.Entries, origin.Entry{Key: fmt.Sprintf("%0*d", length, i)})
	}
	return f
}

// get returns the page of a folder, and whether the origin was asked for it.
func get(t *testing.T, p *lists, name, after string, f *origin.Folder) (page *list, asked bool) {
	t.Helper()
	page, err := p.list([]byte(name), []byte(after), 1, func() (*origin.Folder, error) { asked = true; return f, nil })
	if err != nil {
		t.Fatal(err)
	}
	return page, asked
}

func TestPagesAreFreshForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLists(newRoom(), time.Now)
		for _, c := range []struct {
			name, after string
			asked       bool
		}{
			{"a/", "", true}, {"a/", "", false}, {"a/", "a/b", true}, {"a/", "a/b", false}, {"", "a/b", true}, {"b/", "", true},
		} {
			if _, asked := get(t, p, c.name, c.after, folder(1, 3)); asked != c.asked {
				t.Errorf("%q behind %q: asked %t", c.name, c.after, asked)
			}
		}
		time.Sleep(freshFor - time.Nanosecond)
		if _, asked := get(t, p, "a/", "", folder(1, 3)); asked {
			t.Error("the page is stale too soon")
		}
		time.Sleep(time.Nanosecond)
		if _, asked := get(t, p, "a/", "", folder(1, 3)); !asked {
			t.Error("the page is fresh too long")
		}
		time.Sleep(freshFor)
		synctest.Wait()
		if len(p.kept)+len(p.order)+len(p.flights)+len(p.clients) > 0 || p.bytes != 0 {
			t.Errorf("what nobody asks for stays in memory: %d pages of %d bytes", len(p.kept), p.bytes)
		}
	})
}

func TestPagesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLists(newRoom(), time.Now)
		for i := range 3 * maxPages {
			get(t, p, fmt.Sprint(i, "/"), "", folder(2, 10))
		}
		if len(p.kept) != maxPages || len(p.order) != maxPages {
			t.Errorf("%d pages are kept", len(p.kept))
		}
		if _, asked := get(t, p, fmt.Sprint(3*maxPages-1, "/"), "", folder(2, 10)); asked {
			t.Error("the youngest has made room")
		}
		for i := range 30 {
			page, _ := get(t, p, fmt.Sprint("large", i, "/"), "", folder(1000, 1000))
			body, _ := page.body(0, 1, 1, func() []byte { return make([]byte, 1<<20) })
			if again, _ := page.body(0, 1, 1, func() []byte { t.Error("a body is made twice"); return nil }); again != body {
				t.Error("another body")
			}
			if other, _ := page.body(1, 1, 1, func() []byte { return []byte("x") }); string(other.Bytes) != "x" {
				t.Error("the forms share a body")
			}
		}
		var sum int64
		for _, page := range p.order {
			sum += page.size
		}
		if p.bytes > maxPageBytes || p.bytes != sum || len(p.kept) != len(p.order) || len(p.kept) == 0 {
			t.Errorf("%d bytes are counted, %d are kept in %d pages", p.bytes, sum, len(p.kept))
		}
		page, _ := get(t, p, "huge/", "", folder(17000, 1000)) // more than all memory
		if len(page.Entries) != 17000 || p.bytes > maxPageBytes {
			t.Errorf("%d entries, %d bytes", len(page.Entries), p.bytes)
		}
		if body, err := page.body(0, 1, 1, func() []byte { return []byte("y") }); err != nil || string(body.Bytes) != "y" {
			t.Error("a page that is not kept has no body")
		}
		time.Sleep(freshFor)
		synctest.Wait()
		if p.bytes != 0 {
			t.Errorf("%d bytes are left", p.bytes)
		}
	})
}

// TestPagesShareAFlight has followers get what the leader brings, be it an error, or a panic.
func TestPagesShareAFlight(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		ask  func() (*origin.Folder, error)
		want func(page *list, err error) bool
	}{
		"a page":   {func() (*origin.Folder, error) { return folder(3, 3), nil }, func(page *list, err error) bool { return err == nil && len(page.Entries) == 3 }},
		"an error": {func() (*origin.Folder, error) { return nil, broken }, func(page *list, err error) bool { return page == nil && err == broken }},
		"a panic": {func() (*origin.Folder, error) { panic("oops") }, func(page *list, err error) bool {
			e, ok := errors.AsType[*origin.Error](err)
			return page == nil && ok && e.Problem == problem.Broken
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newLists(newRoom(), time.Now)
				release := make(chan struct{})
				var wg sync.WaitGroup
				wg.Go(func() {
					defer func() { recover() }()
					p.list([]byte("a/"), nil, 1, func() (*origin.Folder, error) { <-release; return c.ask() })
				})
				synctest.Wait()
				for i := range 20 {
					wg.Go(func() {
						page, err := p.list([]byte("a/"), nil, uint64(i), func() (*origin.Folder, error) { t.Error("a second flight"); return nil, nil })
						if !c.want(page, err) {
							t.Errorf("%v, %v", page, err)
						}
					})
				}
				synctest.Wait()
				close(release)
				wg.Wait()
				if len(p.flights)+len(p.clients) > 0 {
					t.Errorf("%d flights are left", len(p.flights))
				}
			})
		})
	}
}

// TestPagesShareOut gives each client its share of the lists under way. Who has followed one that
// was refused for its client's share asks by itself.
func TestPagesShareOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLists(newRoom(), time.Now)
		release := make(chan struct{})
		var wg sync.WaitGroup
		begin := func(client uint64, name string) {
			wg.Go(func() {
				p.list([]byte(name), nil, client, func() (*origin.Folder, error) { <-release; return nil, errManyLists })
			})
			synctest.Wait()
		}
		refused := func(client uint64) bool {
			_, err := p.list([]byte("more/"), nil, client, func() (*origin.Folder, error) { return folder(1, 1), nil })
			return isBusy(err)
		}
		for i := range maxClientLists {
			if i > 0 && refused(1) {
				t.Fatalf("the client is refused with %d lists", i)
			}
			time.Sleep(freshFor)
			begin(1, fmt.Sprint(i))
		}
		if !refused(1) || refused(2) {
			t.Error("the client has more than its share, or another has none")
		}
		time.Sleep(freshFor)
		for client := uint64(2); client < 2+maxLists/maxClientLists-1; client++ {
			for i := range maxClientLists {
				begin(client, fmt.Sprint(client, "x", i))
			}
		}
		if !refused(99) {
			t.Error("there is no bound for all")
		}
		own := false
		wg.Go(func() {
			page, err := p.list([]byte("0"), nil, 98, func() (*origin.Folder, error) { own = true; return folder(2, 2), nil })
			if err != nil || len(page.Entries) != 2 {
				t.Errorf("%v, %v", page, err)
			}
		})
		synctest.Wait()
		close(release)
		wg.Wait()
		if !own {
			t.Error("a client is refused for another's share")
		}
	})
}

func TestComplains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLists(newRoom(), time.Now)
		var said []string
		for range 130 {
			said = append(said, fmt.Sprint(p.complains()))
			time.Sleep(time.Second)
		}
		if n := strings.Count(strings.Join(said, " "), "true"); n != 3 || said[0] != "true" {
			t.Errorf("%d complaints in 130 seconds", n)
		}
	})
}
