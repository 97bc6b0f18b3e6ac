package cluster

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"yatagarasu/cache"
	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/shared"
	"yatagarasu/gateway/limit"
	"yatagarasu/loadtest/redisserver"
)

// shelves are nodes of one Valkey, each with a shelf of the same bucket.
type shelves struct {
	*testing.T
	server *redisserver.Server
	nodes  []*Node
	shelf  []*Shelf
}

func newShelves(t *testing.T, count int) *shelves {
	server := redisserver.ForTest(t, redisserver.Options{})
	s := &shelves{T: t, server: server}
	for range count {
		s.join(testSecret)
	}
	return s
}

// join adds a node.
func (s *shelves) join(secret string) (*Node, *Shelf) {
	c := storeConfig(s.server.Address(), secret)
	log := zerolog.New(io.Discard)
	n := New(Options{Config: c, Log: &log, Apply: func(string, *cache.Purges, bool) {}, Outdate: func() {}})
	n.Start()
	s.Cleanup(n.Close)
	shelf := n.Shelf("bucket", []byte("origin"))
	s.nodes, s.shelf = append(s.nodes, n), append(s.shelf, shelf)
	s.eventually("the log is followed", func() bool { return time.Since(n.Lease.Verified()) < followed })
	return n, shelf
}

func (s *shelves) eventually(what string, is func() bool) {
	s.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) { // polls
		if time.Now().After(deadline) {
			s.Fatalf("not within 20 s: %s", what)
		}
	}
}

// stored returns an object that is as fresh as can be.
func stored(name, head, body string) *cache.Object {
	return &cache.Object{
		Key: cache.AppendKey(nil, []byte(name), []byte("origin")), Status: 200, Header: []byte(head), Body: []byte(body),
		Freshness: cache.Freshness{Sent: time.Now(), Lifetime: time.Hour},
	}
}

func tagsIn(head []byte) []string { return strings.Fields(strings.TrimPrefix(string(head), "Tags: ")) }

// put stores an object by the first node, and waits until it is there.
func (s *shelves) put(name, head, body string) *cache.Object {
	s.Helper()
	o, before := stored(name, head, body), s.nodes[0].store.writes[Written].Load()
	s.shelf[0].Put(o, s.shelf[0].Place())
	s.eventually("an object is written", func() bool { return s.nodes[0].store.writes[Written].Load() > before })
	return o
}

// want asks a shelf for an object.
func (s *shelves) want(shelf *Shelf, o *cache.Object, want Outcome) *Item {
	s.Helper()
	item, got := shelf.get(o.Key, false, tagsIn, time.Now())
	for range 20 { // a busy machine may be too slow for one
		if got != Failed || want == Failed {
			break
		}
		item, got = shelf.get(o.Key, false, tagsIn, time.Now())
	}
	if got != want {
		s.Errorf("%q: %s, want %s", o.Name(), Outcomes[got], Outcomes[want])
	}
	return item
}

func TestStore(t *testing.T) {
	s := newShelves(t, 2)
	o := s.put("a", "Tags: x y", "hello")
	item := s.want(s.shelf[1], o, Found)
	if item == nil || string(item.Body) != "hello" || string(item.Head) != "Tags: x y" || item.Status != 200 {
		t.Fatalf("%+v", item)
	}
	if age := time.Since(item.Freshness.Sent) + item.Freshness.Received; age > time.Minute || item.Freshness.Lifetime != time.Hour {
		t.Errorf("%v old, %+v", age, item.Freshness)
	}
	if head, outcome := s.shelf[1].get(o.Key, true, tagsIn, time.Now()); outcome != Found || head.Body != nil || string(head.Head) != "Tags: x y" {
		t.Errorf("the head alone: %+v, %s", head, Outcomes[outcome])
	}
	s.want(s.shelf[1], stored("b", "", ""), Absent)
	s.want(s.nodes[1].Shelf("another bucket", []byte("origin")), o, Foreign)
	s.want(s.nodes[1].Shelf("bucket", []byte("elsewhere")), o, Foreign)
	_, foreign := s.join(testSecret + "another")
	s.want(foreign, o, Absent)

	keys, err := s.server.Do(t.Context(), "KEYS", "y:test:o:*")
	if text := fmt.Sprint(keys); err != nil || strings.Contains(text, "bucket") || !strings.Contains(text, s.shelf[0].key(o.Key)) {
		t.Errorf("%s, %v", text, err)
	}
	value, err := s.server.Do(t.Context(), "GET", s.shelf[0].key(o.Key))
	if text := fmt.Sprint(value); err != nil || strings.Contains(text, "hello") || strings.Contains(text, "Tags") {
		t.Errorf("the value tells what it is: %q, %v", text, err)
	}
	if left, err := s.server.Do(t.Context(), "PTTL", s.shelf[0].key(o.Key)); err != nil || left.(int64) > time.Hour.Milliseconds() || left.(int64) < 59*time.Minute.Milliseconds() {
		t.Errorf("it stays for %v, %v", left, err)
	}
}

// TestStoreAdmitsTheSecond has an object stored when it was fetched twice, by whatever gateways. An
// object that replaces a stored one needs no second fetch.
func TestStoreAdmitsTheSecond(t *testing.T) {
	s := newShelves(t, 2)
	for _, n := range s.nodes {
		n.store.o.Admit = shared.AdmitSecond
	}
	o := stored("a", "", "hello")
	if got := s.shelf[0].put(o, s.shelf[0].Place().at); got != Marked {
		t.Errorf("the first fetch: %s", Outcomes[got])
	}
	s.want(s.shelf[1], o, Absent)
	if left, err := s.server.Do(t.Context(), "PTTL", s.shelf[0].key(o.Key)); err != nil || left.(int64) <= 23*time.Hour.Milliseconds() {
		t.Errorf("the mark stays for %v, %v", left, err)
	}
	if got := s.shelf[1].put(o, s.shelf[1].Place().at); got != Written {
		t.Errorf("the second fetch: %s", Outcomes[got])
	}
	if item := s.want(s.shelf[0], o, Found); item != nil && string(item.Body) != "hello" {
		t.Errorf("%+v", item)
	}
	if left, err := s.server.Do(t.Context(), "PTTL", s.shelf[0].key(o.Key)); err != nil || left.(int64) > time.Hour.Milliseconds() {
		t.Errorf("the object stays for %v, %v", left, err)
	}
	newer := stored("a", "", "again")
	if got := s.shelf[0].put(newer, s.shelf[0].Place().at); got != Written {
		t.Errorf("a newer one: %s", Outcomes[got])
	}
	s.server.Freeze()
	if got := s.shelf[0].put(stored("b", "", ""), s.shelf[0].Place().at); got != Failed {
		t.Errorf("a frozen Valkey: %s", Outcomes[got])
	}
}

// TestStoreAfterPurges has an object purged in each way. A node that begins later knows of them, too.
func TestStoreAfterPurges(t *testing.T) {
	s := newShelves(t, 2)
	for name, p := range map[string]*Purge{
		"a key": {Bucket: "bucket", Kind: Key, Name: []byte("a//b")}, "a prefix": {Bucket: "bucket", Kind: Prefix, Name: []byte("a/")},
		"a tag": {Kind: Tag, Name: []byte("y")}, "the bucket": {Bucket: "bucket", Kind: All}, "all": {Kind: All}, "softly": {Kind: All, Soft: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := &shelves{T: t, server: s.server, nodes: s.nodes, shelf: s.shelf}
			o := s.put("a/b", "Tags: x y", name)
			early := s.shelf[0].Place()
			s.want(s.shelf[1], o, Found)
			made := false
			if _, err := s.nodes[1].Publish(p, func() {
				s.want(s.shelf[1], o, Outdated) // before memory is purged
				made = true
			}); err != nil || !made {
				t.Fatal(err)
			}
			s.want(s.shelf[1], o, Outdated)
			s.want(s.shelf[0], o, Outdated) // confirmed
			_, late := s.join(testSecret)
			s.want(late, o, Outdated)

			written := s.nodes[0].store.writes[Written].Load()
			s.shelf[0].Put(o, early) // a late fill
			s.eventually("a late fill is written", func() bool { return s.nodes[0].store.writes[Written].Load() > written })
			s.want(s.shelf[1], o, Outdated)
			again := s.put("a/b", "Tags: x y", "again")
			s.want(s.shelf[1], again, Found)
			s.want(late, again, Found)
		})
	}
}

// TestStoreAndTheLog has the log lost or shortened: what was stored before is not used.
func TestStoreAndTheLog(t *testing.T) {
	s := newShelves(t, 2)
	o := s.put("a", "", "hello")
	for i := range 5 {
		if _, err := s.nodes[0].Publish(&Purge{Bucket: "other", Kind: Key, Name: fmt.Append(nil, i)}, func() {}); err != nil {
			t.Fatal(err)
		}
	}
	s.want(s.shelf[1], o, Found)
	if _, err := s.server.Do(t.Context(), "XTRIM", s.nodes[0].keys.log, "MAXLEN", "2"); err != nil {
		t.Fatal(err)
	}
	_, late := s.join(testSecret)
	s.want(late, o, Outdated) // for it, it may have been purged unseen
	s.want(s.shelf[1], o, Found)
	if _, err := s.server.Do(t.Context(), "DEL", s.nodes[0].keys.log); err != nil {
		t.Fatal(err)
	}
	resync := &s.nodes[1].stats.resyncs[resyncIncarnation]
	s.eventually("the log is begun again", func() bool {
		return resync.Load() > 0 && time.Since(s.nodes[1].Lease.Verified()) < followed && s.nodes[1].place.Load().position > 0
	})
	s.want(s.shelf[1], o, Outdated)
}

// TestStoreWithoutValkey has the server frozen: a request waits for it a few times, no longer than the
// timeout, and then not at all.
func TestStoreWithoutValkey(t *testing.T) {
	s := newShelves(t, 1)
	o := s.put("a", "", "hello")
	s.server.Freeze()
	var outcomes []string
	for range 2 * limit.BreakAfter {
		_, got := s.shelf[0].get(o.Key, false, tagsIn, time.Now())
		outcomes = append(outcomes, Outcomes[got])
	}
	text := strings.Join(outcomes, " ")
	if want := strings.Repeat("failed ", limit.BreakAfter) + "skipped"; !strings.HasPrefix(text, want) || !s.nodes[0].store.breaker.Open() {
		t.Errorf("%s, want %s", text, want)
	}
	s.server.Thaw()
	s.eventually("it is asked again", func() bool {
		_, got := s.shelf[0].get(o.Key, false, tagsIn, time.Now())
		return got == Found
	})
}

// TestStoreOfSomebodyElse has Valkey keep what is none of ours in our place.
func TestStoreOfSomebodyElse(t *testing.T) {
	s := newShelves(t, 1)
	o := s.put("a", "", "hello")
	key := s.shelf[0].key(o.Key)
	good, err := s.server.Do(t.Context(), "GET", key)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"text": "hello", "huge": strings.Repeat("x", 3<<20), "cut": good.(string)[:50], "longer": good.(string) + "x", "without an end": good.(string),
	} {
		args := []string{"SET", key, value, "PX", "100000"}
		if name == "without an end" {
			args = args[:3]
		}
		if _, err := s.server.Do(context.Background(), args...); err != nil {
			t.Fatal(err)
		}
		if item := s.want(s.shelf[0], o, Foreign); item != nil {
			t.Errorf("%s: %+v", name, item)
		}
	}
}

// TestStoreIsBounded has more to write than fits, and what is not worth it.
func TestStoreIsBounded(t *testing.T) {
	c := storeConfig("127.0.0.1:1", testSecret)
	c.Store.WriteQueue, c.Store.MaxObjectSize = 10, 8
	n := New(Options{Config: c}) // not started: nobody writes
	shelf, at := n.Shelf("bucket", nil), Place{new(place)}
	for range 3 {
		shelf.Put(stored("a", "", "1234"), at)
	}
	if n.store.writes[Dropped].Load() != 1 || n.store.queued.Load() != 8 {
		t.Errorf("%d dropped, %d bytes wait", n.store.writes[Dropped].Load(), n.store.queued.Load())
	}
	shelf.Put(stored("a", "", "larger than 8"), at)
	shelf.Put(stored("a", "", ""), Place{}) // no purges are known yet
	if len(n.store.queue) != 2 {
		t.Errorf("%d wait, want 2", len(n.store.queue))
	}
	absent := stored("a", "", "")
	absent.Status = 404
	for range 2 * absentRate {
		shelf.Put(absent, at)
	}
	if waiting := len(n.store.queue); waiting > 2+absentRate+50 { // and those that come in the meantime
		t.Errorf("%d wait", waiting)
	}
	if got := shelf.put(stored("a", "", ""), at.at); got != Skipped {
		t.Errorf("without Valkey: %s", Outcomes[got])
	}
}

// storeConfig is a configuration with a store.
func storeConfig(address, secret string) *shared.Cluster {
	return &shared.Cluster{
		Enabled: true, Namespace: "test", Secret: file.NewSecret(secret), Valkey: shared.Valkey{Addresses: []string{address}, Mode: shared.ValkeyStandalone},
		Purge: shared.ClusterPurge{Within: 10 * time.Second, Wait: 10 * time.Second},
		Store: shared.ClusterStore{Enabled: true, MaxObjectSize: 256 << 10, MaxTTL: 24 * time.Hour, Timeout: 100 * time.Millisecond, WriteQueue: 1 << 20},
	}
}
