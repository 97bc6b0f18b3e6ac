package sealed

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"yatagarasu/cache"
)

const testSecret = "0123456789abcdef0123456789abcdef"

func Example() {
	box := NewBox(testSecret, "prod", "assets", []byte("https://s3.example.com"))
	key := cache.AppendKey(nil, []byte("a.txt"))
	value := box.Seal(key, &Header{Log: HashLog("log"), Position: 7, Status: 200}, []byte("ETag: \"1\"\r\n"), []byte("hello"))

	h, err := ReadHeader(value)
	if err != nil {
		panic(err)
	}
	_, body, err := box.Open(key, &h, value, true)
	fmt.Println(h.Position, string(body), err)
	_, _, err = box.Open(cache.AppendKey(nil, []byte("b.txt")), &h, value, true)
	fmt.Println(err)
	// Output:
	// 7 hello <nil>
	// the head of a value was not sealed by a gateway with this secret: cipher: message authentication failed
}

func testValue(b *Box, key string) []byte {
	h := Header{
		Log: HashLog("log"), Position: 1 << 40, SinceSent: 3 * time.Second, PX: time.Hour, StoredAt: 1_700_000_000_123, Status: 200,
		Freshness: cache.Freshness{Received: time.Second, Lifetime: time.Hour, StaleWhileRevalidate: time.Minute, StaleIfError: 2 * time.Minute, NeverStale: true},
	}
	return b.Seal([]byte(key), &h, []byte("ETag: \"1\"\r\n"), []byte("body"))
}

func TestValue(t *testing.T) {
	b := NewBox(testSecret, "ns", "bucket", []byte("origin"))
	v := testValue(b, "key")
	h, err := ReadHeader(v)
	if err != nil {
		t.Fatal(err)
	}
	want := Header{
		Log: HashLog("log"), Position: 1 << 40, SinceSent: 3 * time.Second, PX: time.Hour, StoredAt: 1_700_000_000_123, Status: 200,
		Freshness: cache.Freshness{Received: time.Second, Lifetime: time.Hour, StaleWhileRevalidate: time.Minute, StaleIfError: 2 * time.Minute, NeverStale: true},
		headLen:   11 + TagSize, bodyLen: 4 + TagSize, nonce: h.nonce,
	}
	if h != want {
		t.Errorf("%+v\nwant %+v", h, want)
	}
	if head, body, err := b.Open([]byte("key"), &h, v, true); err != nil || string(head) != "ETag: \"1\"\r\n" || string(body) != "body" {
		t.Errorf("%q, %q, %v", head, body, err)
	}
	if head, body, err := b.Open([]byte("key"), &h, v[:h.HeadEnd()], false); err != nil || len(head) == 0 || body != nil {
		t.Errorf("the head alone: %q, %q, %v", head, body, err)
	}
	if w := testValue(b, "key"); bytes.Equal(v, w) {
		t.Error("two values of one object are the same: the nonce is not new")
	}
}

// TestValueOfOthers has values that whoever owns Valkey could put in the place of another: none may be
// opened.
func TestValueOfOthers(t *testing.T) {
	b := NewBox(testSecret, "ns", "bucket", []byte("origin"))
	opens := func(b *Box, key string, v []byte) bool {
		h, err := ReadHeader(v)
		if err != nil {
			return false
		}
		_, _, err = b.Open([]byte(key), &h, v, true)
		return err == nil
	}
	v, other := testValue(b, "key"), testValue(b, "key")
	if !opens(b, "key", v) {
		t.Fatal("its own value cannot be opened")
	}
	h, _ := ReadHeader(v)
	split := h.HeadEnd()
	for name, c := range map[string]struct {
		box   *Box
		key   string
		value []byte
	}{
		"of another key":       {b, "other key", v},
		"of another bucket":    {NewBox(testSecret, "ns", "other", []byte("origin")), "key", v},
		"of another origin":    {NewBox(testSecret, "ns", "bucket", []byte("other")), "key", v},
		"of another namespace": {NewBox(testSecret, "other", "bucket", []byte("origin")), "key", v},
		"of another secret":    {NewBox(testSecret+"x", "ns", "bucket", []byte("origin")), "key", v},
		"parts moved between":  {NewBox(testSecret, "ns", "bucketo", []byte("rigin")), "key", v},
		"another's body":       {b, "key", append(bytes.Clone(v[:split]), other[split:]...)},
		"another's header":     {b, "key", append(bytes.Clone(other[:HeaderSize]), v[HeaderSize:]...)},
		"cut off":              {b, "key", v[:len(v)-1]},
		"longer":               {b, "key", append(bytes.Clone(v), 0)},
		"the header alone":     {b, "key", v[:HeaderSize]},
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
	if b.Name([]byte("key")) == b.Name([]byte("kez")) || b.Name([]byte("key")) == NewBox(testSecret+"x", "ns", "bucket", nil).Name([]byte("key")) {
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
		h := Header{SinceSent: 3 * time.Second, PX: time.Hour, StoredAt: now.Add(-c.wall).UnixMilli(), Freshness: cache.Freshness{Received: time.Minute, Lifetime: time.Hour}}
		verified := now.Add(-c.verified)
		f := h.FreshnessAt(c.left, verified, now)
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
	b := NewBox(testSecret, "ns", "bucket", nil)
	f.Add(testValue(b, "key"))
	f.Add([]byte{valueVersion})
	f.Fuzz(func(t *testing.T, v []byte) {
		h, err := ReadHeader(v)
		if err != nil {
			return
		}
		b.Open([]byte("key"), &h, v, true)
		b.Open([]byte("key"), &h, v, false)
		if again := h.append(nil); !bytes.Equal(again[:len(again)-nonceSize], v[:len(again)-nonceSize]) && v[1+16+8+40] <= 1 {
			t.Errorf("%x is read as %x", v, again)
		}
	})
}
