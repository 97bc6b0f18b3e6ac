package cluster

import (
	"bytes"
	"testing"
	"time"

	"yatagarasu/cache"
)

const testSecret = "0123456789abcdef0123456789abcdef"

func testValue(b *box, key string) []byte {
	h := header{
		log: hashLog("log"), position: 1 << 40, sinceSent: 3 * time.Second, px: time.Hour, storedAt: 1_700_000_000_123, status: 200,
		f: cache.Freshness{Received: time.Second, Lifetime: time.Hour, StaleWhileRevalidate: time.Minute, StaleIfError: 2 * time.Minute, NeverStale: true},
	}
	return b.seal([]byte(key), &h, []byte("ETag: \"1\"\r\n"), []byte("body"))
}

func TestValue(t *testing.T) {
	b := newBox(testSecret, "ns", "bucket", []byte("origin"))
	v := testValue(b, "key")
	h, err := readHeader(v)
	if err != nil {
		t.Fatal(err)
	}
	want := header{
		log: hashLog("log"), position: 1 << 40, sinceSent: 3 * time.Second, px: time.Hour, storedAt: 1_700_000_000_123, status: 200,
		f:       cache.Freshness{Received: time.Second, Lifetime: time.Hour, StaleWhileRevalidate: time.Minute, StaleIfError: 2 * time.Minute, NeverStale: true},
		headLen: 11 + tagSize, bodyLen: 4 + tagSize, nonce: h.nonce,
	}
	if h != want {
		t.Errorf("%+v\nwant %+v", h, want)
	}
	if head, body, err := b.open([]byte("key"), &h, v, true); err != nil || string(head) != "ETag: \"1\"\r\n" || string(body) != "body" {
		t.Errorf("%q, %q, %v", head, body, err)
	}
	if head, body, err := b.open([]byte("key"), &h, v[:headerSize+h.headLen], false); err != nil || len(head) == 0 || body != nil {
		t.Errorf("the head alone: %q, %q, %v", head, body, err)
	}
	if w := testValue(b, "key"); bytes.Equal(v, w) {
		t.Error("two values of one object are the same: the nonce is not new")
	}
}

// TestValueOfOthers has values that whoever owns Valkey could put in the place of another: none may be
// opened.
func TestValueOfOthers(t *testing.T) {
	b := newBox(testSecret, "ns", "bucket", []byte("origin"))
	opens := func(b *box, key string, v []byte) bool {
		h, err := readHeader(v)
		if err != nil {
			return false
		}
		_, _, err = b.open([]byte(key), &h, v, true)
		return err == nil
	}
	v, other := testValue(b, "key"), testValue(b, "key")
	if !opens(b, "key", v) {
		t.Fatal("its own value cannot be opened")
	}
	h, _ := readHeader(v)
	split := headerSize + h.headLen
	for name, c := range map[string]struct {
		box   *box
		key   string
		value []byte
	}{
		"of another key":       {b, "other key", v},
		"of another bucket":    {newBox(testSecret, "ns", "other", []byte("origin")), "key", v},
		"of another origin":    {newBox(testSecret, "ns", "bucket", []byte("other")), "key", v},
		"of another namespace": {newBox(testSecret, "other", "bucket", []byte("origin")), "key", v},
		"of another secret":    {newBox(testSecret+"x", "ns", "bucket", []byte("origin")), "key", v},
		"parts moved between":  {newBox(testSecret, "ns", "bucketo", []byte("rigin")), "key", v},
		"another's body":       {b, "key", append(bytes.Clone(v[:split]), other[split:]...)},
		"another's header":     {b, "key", append(bytes.Clone(other[:headerSize]), v[headerSize:]...)},
		"cut off":              {b, "key", v[:len(v)-1]},
		"longer":               {b, "key", append(bytes.Clone(v), 0)},
		"the header alone":     {b, "key", v[:headerSize]},
		"nothing":              {b, "key", nil},
	} {
		if opens(c.box, c.key, c.value) {
			t.Errorf("the value %s is opened", name)
		}
	}
	for i := range v {
		for bit := range 8 {
			flipped := bytes.Clone(v)
			flipped[i] ^= 1 << bit
			if opens(b, "key", flipped) {
				t.Fatalf("bit %d of byte %d is flipped, and the value is opened", bit, i)
			}
		}
	}
	if b.name([]byte("key")) == b.name([]byte("kez")) || b.name([]byte("key")) == newBox(testSecret+"x", "ns", "bucket", nil).name([]byte("key")) {
		t.Error("two objects have one name at Valkey")
	}
}

// TestValueAges has time pass while a value is stored: the clock that says more counts.
func TestValueAges(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		left, wall, verified time.Duration // of px; since it was stored; since purges were looked at
		age                  time.Duration
	}{
		"just stored":                    {time.Hour, 0, 0, 3 * time.Second},
		"Valkey's clock":                 {time.Hour - 10*time.Second, 0, 0, 13 * time.Second},
		"the clock of the gateways":      {time.Hour, 20 * time.Second, 0, 23 * time.Second},
		"a clock that was set back":      {time.Hour - 10*time.Second, -time.Hour, 0, 13 * time.Second},
		"it is older than the last news": {time.Hour - 10*time.Second, 0, time.Second, 13 * time.Second},
		"it is younger than that":        {time.Hour, 0, time.Minute, 3 * time.Second},
	} {
		h := header{sinceSent: 3 * time.Second, px: time.Hour, storedAt: now.Add(-c.wall).UnixMilli(), f: cache.Freshness{Received: time.Minute, Lifetime: time.Hour}}
		verified := now.Add(-c.verified)
		f := h.freshness(c.left, verified, now)
		if age := now.Sub(f.Sent) + f.Received; (age - c.age - time.Minute).Abs() > time.Millisecond {
			t.Errorf("%s: age %v, want %v", name, age, c.age+time.Minute)
		}
		if f.Sent.Before(verified) {
			t.Errorf("%s: it counts as asked for before the last news", name)
		}
	}
}

// FuzzReadHeader reads what is no value.
func FuzzReadHeader(f *testing.F) {
	b := newBox(testSecret, "ns", "bucket", nil)
	f.Add(testValue(b, "key"))
	f.Add([]byte{valueVersion})
	f.Fuzz(func(t *testing.T, v []byte) {
		h, err := readHeader(v)
		if err != nil {
			return
		}
		b.open([]byte("key"), &h, v, true)
		b.open([]byte("key"), &h, v, false)
		if again := h.append(nil); !bytes.Equal(again[:len(again)-nonceSize], v[:len(again)-nonceSize]) && v[1+16+8+40] <= 1 {
			t.Errorf("%x is read as %x", v, again)
		}
	})
}
