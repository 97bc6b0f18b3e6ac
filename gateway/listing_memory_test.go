package gateway

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"yatagarasu/gateway/limit"
)

// largeLister has a folder whose pages are as large as they get: about 7 MiB.
func largeLister(n int) *lister {
	var keys []string
	for i := range n {
		keys = append(keys, fmt.Sprintf("big/%05d-%s", i, strings.Repeat(`"`, 900)))
	}
	return &lister{keys: keys}
}

// hiddenOf is a rule by which a token does not see the first key of a largeLister.
var hiddenOf = `{path: "/big/00000-` + strings.Repeat(`\"`, 900) + `", claims: [{claim: own, operator: exists, value: true}]}`

// proxied has the gateway believe X-Forwarded-For.
func proxied(yaml string) string {
	return strings.Replace(yaml, "ready: config", "ready: config, trusted_proxies: [127.0.0.1]", 1)
}

// slowly begins a request of a client that takes no more than the beginning of the answer, and
// returns the status.
func (tg *testGateway) slowly(t *testing.T, client, target string, headers ...string) int {
	t.Helper()
	c, err := net.Dial("tcp", tg.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.(*net.TCPConn).SetReadBuffer(4096)
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: %s\r\n%s\r\n", target, client, strings.Join(append(headers, ""), "\r\n"))
	line, err := bufio.NewReaderSize(c, 16).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	status, _ := strconv.Atoi(strings.Fields(line)[1])
	return status
}

// TestListingMemory has slow readers ask for large pages, each for another: one client gets its share
// of the memory, and others get theirs.
func TestListingMemory(t *testing.T) {
	t.Parallel()
	o := startLister(t, largeLister(1100))
	token := "Authorization: Bearer " + goodToken()
	for name, yaml := range map[string]string{"of all": withListing(oneBucket("/pub", o.URL)), "of one token": privateListing(o.URL, hiddenOf)} {
		t.Run(name, func(t *testing.T) {
			gw := startGateway(t, proxied(yaml))
			pages := gw.Generation.Load().ByName["main"].Pages
			page := func(i int) string { return fmt.Sprintf("/pub/big/?start-after=big/000%02d", i) }
			statuses := make(map[int]int)
			for i := range 4 {
				statuses[gw.slowly(t, "192.0.2.1", page(i), token)]++
			}
			if statuses[200] < 1 || statuses[503] < 2 || pages.Room.Bytes() > 16<<20 {
				t.Errorf("one client is answered %v; %d bytes are held", statuses, pages.Room.Bytes())
			}
			if status := gw.slowly(t, "198.51.100.7", page(0), token); status != 200 {
				t.Errorf("another client is answered %d", status)
			}
			for i := range 12 {
				gw.slowly(t, fmt.Sprint("203.0.113.", i), page(i), token)
			}
			if n := pages.Room.Bytes(); n > 64<<20 {
				t.Errorf("%d bytes are held", n)
			}
			if r, _ := gw.do("HEAD", page(0), "X-Forwarded-For: 192.0.2.1", token); r.StatusCode != 200 {
				t.Errorf("HEAD, which holds nothing: status %d", r.StatusCode)
			}
		})
	}
}

// TestListingIsSharedMemory has many clients read one page slowly: it is in memory once.
func TestListingIsSharedMemory(t *testing.T) {
	o := startLister(t, largeLister(1000))
	gw := startGateway(t, proxied(withListing(oneBucket("/pub", o.URL))))
	pages := gw.Generation.Load().ByName["main"].Pages
	for i := range 30 {
		if status := gw.slowly(t, fmt.Sprint("192.0.2.", i%3), "/pub/big/"); status != 200 {
			t.Fatalf("reader %d is answered %d", i, status)
		}
	}
	if n := pages.Room.Bytes(); n < 5<<20 || n > 10<<20 {
		t.Errorf("%d bytes count", n)
	}
}

// TestListingReadersGiveWay has slow readers take most of the memory: the slowest are cut until
// others have room.
func TestListingReadersGiveWay(t *testing.T) {
	o := startLister(t, largeLister(1100))
	gw := startGateway(t, proxied(withListing(oneBucket("/pub", o.URL))))
	pages := gw.Generation.Load().ByName["main"].Pages
	for i := range 12 {
		gw.slowly(t, fmt.Sprint("192.0.2.", i), fmt.Sprintf("/pub/big/?start-after=big/000%02d", i))
	}
	gw.log.waitFor(t, `"reason":"yielded"`)
	eventually(t, "half of the room is free", func() bool { return pages.Room.Bytes() <= 32<<20 })
	r, body := gw.do("GET", "/pub/big/?start-after=big/00020", "X-Forwarded-For: 198.51.100.7")
	if r.StatusCode != 200 || len(body) < 5<<20 {
		t.Errorf("status %d, %d bytes", r.StatusCode, len(body))
	}
}

// TestListingIsWatched has the handler return: from then on it is known who holds what of a page.
func TestListingIsWatched(t *testing.T) {
	o := startLister(t, &lister{keys: []string{"a"}})
	gw := startGateway(t, withListing(oneBucket("/pub", o.URL)))
	pages, client := gw.Generation.Load().ByName["main"].Pages, limit.AddressKey(netip.MustParseAddr("127.0.0.1"))
	gw.do("GET", "/pub/")
	eventually(t, "the request before has ended", func() bool { return gw.conns.Active() == 0 })
	ctx := request(t, "GET /pub/ HTTP/1.1\r\nHost: g\r\n\r\n")
	gw.Handle(ctx)
	want := int64(len(ctx.Response.Body()))
	if n := gw.Origins.Pace.Held(pages.Room, client); n != want || pages.Room.Bytes() != want {
		t.Errorf("%d bytes are held, %d count, want %d", n, pages.Room.Bytes(), want)
	}
	ctx.ResetUserValues()
	if n := gw.Origins.Pace.Held(pages.Room, client) + pages.Room.Bytes(); n != 0 {
		t.Errorf("%d bytes are held at the end", n)
	}
}

// TestListingWritesAreBounded has one client ask for very many large pages of its own at once by
// HEAD: those that are written at once stay within its share, and nothing is left of them.
func TestListingWritesAreBounded(t *testing.T) {
	o := startLister(t, largeLister(1000))
	gw := startGateway(t, privateListing(o.URL, hiddenOf))
	pages := gw.Generation.Load().ByName["main"].Pages
	head := "HEAD /pub/big/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer " + goodToken() + "\r\n\r\n"
	gw.rawFor(30*time.Second, head) // so that none of the others waits for the origin
	var most int64
	stop := make(chan struct{})
	var watch, all sync.WaitGroup
	watch.Go(func() { // ends with stop
		for {
			select {
			case <-stop:
				return
			default:
				most = max(most, pages.Room.Bytes())
			}
		}
	})
	var mu sync.Mutex
	statuses := make(map[int]int)
	for range 40 {
		all.Go(func() {
			status := statusOf(gw.rawAt(gw.addr, 30*time.Second, head))
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
		})
	}
	all.Wait()
	close(stop)
	watch.Wait()
	if statuses[200] == 0 || statuses[200]+statuses[503] != 40 || most > 16<<20 || pages.Room.Bytes() != 0 {
		t.Errorf("answered are %v; at most %d bytes were held, %d are left", statuses, most, pages.Room.Bytes())
	}
}
