package cluster

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"yatagarasu/cache"
	"yatagarasu/gateway/sealed"
)

// TestLedger compares a ledger with the list of all purges.
func TestLedger(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	name := func() string { return pick("a", "b", "a/b", "a/c", "b/a/c", "a//b", "/a/b", "") + pick("", "x", "/y") }
	log := sealed.HashLog("log")
	for range 200 {
		var l ledger
		l.begin(log, 3)
		var all []*Purge
		for position := uint64(4); position < 20; position++ {
			p := &Purge{Bucket: pick("one", "two", ""), Kind: Kind(pick("key", "key", "prefix", "tag", "all"))}
			if p.Kind != All {
				p.Name = []byte(name())
			}
			all = append(all, p)
			l.add(p, position)
		}
		for range 50 {
			bucket, object, tags, asked := pick("one", "two"), name(), []string{name(), name()}, uint64(random.IntN(22))
			want := asked >= 3
			for i, p := range all {
				collapsed := []byte(object)
				if uint64(i+4) > asked && p.isFor(bucket, collapse(collapsed), tags) {
					want = false
				}
			}
			if got := l.holds(log, asked, bucket, []byte(object), tags); got != want {
				t.Fatalf("%s %q %q asked for at %d: %t, want %t", bucket, object, tags, asked, got, want)
			}
			if l.holds(sealed.HashLog("another"), asked, bucket, []byte(object), tags) {
				t.Fatal("an object of another log holds")
			}
		}
	}
}

// TestLedgerIsBounded has more names purged than a ledger keeps: the whole bucket counts as purged.
func TestLedgerIsBounded(t *testing.T) {
	var l ledger
	log := sealed.HashLog("log")
	l.begin(log, 0)
	l.add(&Purge{Bucket: "small", Kind: Key, Name: []byte("k")}, 1)
	for i := range uint64(maxLedger) {
		l.add(&Purge{Bucket: "large", Kind: Key, Name: fmt.Append(nil, i)}, i+2)
	}
	if l.size > maxLedger || l.holds(log, maxLedger, "large", []byte("never purged"), nil) || !l.holds(log, 1, "small", []byte("never purged"), nil) {
		t.Errorf("%d names, of at most %d", l.size, maxLedger)
	}
	if !l.holds(log, maxLedger+1, "large", []byte("never purged"), nil) {
		t.Error("what was asked for since is outdated, too")
	}
}

// TestLedgerPending has purges that wait for their positions.
func TestLedgerPending(t *testing.T) {
	var l ledger
	log := sealed.HashLog("log")
	first, second := &Purge{Bucket: "b", Kind: Prefix, Name: []byte("a/")}, &Purge{Bucket: "b", Kind: Prefix, Name: []byte("a/")}
	holds := func(position uint64) bool { return l.holds(log, position, "b", []byte("a/b"), nil) }
	l.pend(first)
	if l.begin(log, 0); holds(9) {
		t.Error("an object holds though its purge is under way")
	}
	l.pend(second)
	if l.settle(&place{incarnation: "log", position: 5}, first); holds(9) {
		t.Error("an object holds though its second purge is under way")
	}
	if l.settle(&place{incarnation: "log", position: 7}, second); holds(6) || !holds(7) {
		t.Errorf("at 6: %t, at 7: %t; want false, true", holds(6), holds(7))
	}
	l.pend(first)
	if l.drop(first); !holds(7) {
		t.Error("a purge that was given up goes on")
	}
	l.add(&Purge{Bucket: "b", Kind: Key, Name: []byte("a/b")}, 12)
	for _, p := range []*Purge{{Bucket: "b", Kind: Key, Name: []byte("a/b")}, {Bucket: "b", Kind: All}} {
		l.pend(p)
		if l.settle(&place{incarnation: "log", position: 8}, p); holds(11) || !holds(12) {
			t.Errorf("a %s that is settled late takes the place of a later purge", p.Kind)
		}
	}
	l.pend(first)
	if l.settle(&place{incarnation: "another", position: 99}, first); !holds(12) {
		t.Error("a purge of another log counts in this one")
	}
	if l.forget(); holds(9) {
		t.Error("an object holds in no log")
	}
	if l.add(first, 10); holds(9) {
		t.Error("an object holds in no log after a purge")
	}
}

func collapse(name []byte) []byte { return cache.AppendCollapsed(nil, name) }
