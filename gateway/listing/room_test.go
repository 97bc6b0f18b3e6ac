package listing

import (
	"strconv"
	"strings"
	"testing"
)

// bodyOf returns a body of n bytes.
func bodyOf(r *Room, n int) *Body {
	return &Body{Bytes: make([]byte, n), room: r, readers: make(map[uint64]int)}
}

// TestRoomCountsABodyOnce has many read one body: it counts once for all, and once for each client.
func TestRoomCountsABodyOnce(t *testing.T) {
	r := newRoom()
	b := bodyOf(r, 1000)
	for range 3 {
		for client := range uint64(3) {
			if err := b.Begin(client); err != nil {
				t.Fatal(err)
			}
		}
	}
	if r.Bytes() != 1000 || r.bodies.clients[2] != 1000 || b.Held() != 111 {
		t.Errorf("%d bytes count, %d for a client; a reader holds %d", r.Bytes(), r.bodies.clients[2], b.Held())
	}
	for range 3 {
		for client := range uint64(3) {
			b.End(client)
		}
	}
	if r.Bytes() != 0 || len(r.bodies.clients)+len(b.readers) > 0 || b.Held() != 0 {
		t.Errorf("%d bytes are left, of %v", r.Bytes(), r.bodies.clients)
	}
}

// TestRoomSharesOut gives each client its part of the memory, one body at least, and all of them no
// more than there is.
func TestRoomSharesOut(t *testing.T) {
	r := newRoom()
	const n = maxClientBytes / 4
	for client := range uint64(maxBodyBytes / maxClientBytes) {
		for i := range 4 {
			if err := bodyOf(r, n).Begin(client); err != nil {
				t.Fatalf("body %d of client %d: %v", i, client, err)
			}
		}
		if err := bodyOf(newRoom(), n).Begin(client); err != nil {
			t.Fatal("rooms share")
		}
	}
	if r.Bytes() != maxBodyBytes {
		t.Fatalf("%d bytes are taken", r.Bytes())
	}
	if err := bodyOf(r, 1).Begin(99); !isBusy(err) {
		t.Errorf("there is no bound for all: %v", err)
	}
	if _, err := r.write(1, 2*maxClientBytes, func() []byte {
		if _, err := r.write(1, 1, nil); !isBusy(err) {
			t.Errorf("a client writes more than its share: %v", err)
		}
		return nil
	}); err != nil {
		t.Errorf("what is on its way takes the room to write: %v", err)
	}

	r = newRoom()
	large := bodyOf(r, 2*maxClientBytes)
	if err := large.Begin(1); err != nil {
		t.Errorf("a client does not get one large body: %v", err)
	}
	if err := bodyOf(r, 1).Begin(1); !isBusy(err) {
		t.Errorf("a client gets more than its share: %v", err)
	}
	if err := bodyOf(r, 1).Begin(2); err != nil {
		t.Errorf("another gets nothing: %v", err)
	}
	if large.Begin(1) != nil || large.Begin(3) != nil {
		t.Error("what is there anyway is not shared")
	}
}

// TestRoomBoundsWork has clients write ever more at once.
func TestRoomBoundsWork(t *testing.T) {
	r := newRoom()
	var begin func(n int) error
	begin = func(n int) (err error) { // n at once for each of enough clients
		if n == 0 {
			if e := r.do(0, 0, func() {}); !isBusy(e) {
				t.Errorf("a client does more than its share: %v", e)
			}
			return r.do(9, 0, func() {})
		}
		if e := r.do(0, 0, func() { err = begin(n - 1) }); e != nil {
			return e
		}
		return err
	}
	if err := begin(maxClientWork); err != nil {
		t.Errorf("another may do nothing: %v", err)
	}
	func() {
		defer func() { recover() }()
		r.do(1, 100, func() { panic("oops") })
	}()
	if r.work.all != 0 || len(r.work.clients) > 0 || r.Bytes() != 0 {
		t.Errorf("left are %d under way, %d bytes", r.work.all, r.Bytes())
	}
}

// TestPlaces hides places, and finds them for the same folder alone.
func TestPlaces(t *testing.T) {
	r, seen := newRoom(), make(map[string]bool)
	for _, place := range []string{"", "a/b", "a/b", "a/\x01é", "a/" + strings.Repeat("x", 1022)} {
		text := r.hide([]byte("a/"), []byte(place))
		got, ok := r.place([]byte("a/"), []byte(text))
		if !ok || string(got) != place || seen[text] {
			t.Errorf("%.20q became %.20q, %t", place, got, ok)
		}
		seen[text] = true
		if len(seen) > 1 && len(text) != len(r.hide([]byte("a/"), nil)) {
			t.Error("the length tells something")
		}
		if _, ok := r.place([]byte("b/"), []byte(text)); ok {
			t.Error("it holds for another folder")
		}
		if _, ok := newRoom().place([]byte("a/"), []byte(text)); ok {
			t.Error("it holds for another bucket, or process")
		}
		for _, bad := range []string{"", "AAAA", text[1:], text + "A", text[:40] + "AAAA" + text[44:], "=" + text} {
			if got, ok := r.place([]byte("a/"), []byte(bad)); ok {
				t.Errorf("%.20q is taken for %.20q", bad, got)
			}
		}
	}
}

// TestSplits has about one key in 250 split, the same ones each time, and others in another room.
func TestSplits(t *testing.T) {
	r, other := newRoom(), newRoom()
	n, same := 0, 0
	for i := range 100_000 {
		key := strconv.Itoa(i)
		first := r.splits(key)
		if again := r.splits(key); again != first {
			t.Fatal("it changes")
		}
		if first {
			n++
			if other.splits(key) {
				same++
			}
		}
	}
	if n < 250 || n > 550 || same > 20 { // 400 and 1.6, with deviations of 20 and 1.3
		t.Errorf("%d of 100,000 split, %d of them in both", n, same)
	}
}
