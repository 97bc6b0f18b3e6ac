package cluster

import (
	"fmt"
	"strings"
	"testing"

	"yatagarasu/cache"
	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/shared"
)

func ExamplePurge_AddTo() {
	var in cache.Purges
	for _, p := range []Purge{{Kind: Key, Name: []byte("index.html")}, {Kind: Prefix, Name: []byte("news/")}, {Kind: Tag, Name: []byte("sport")}} {
		p.AddTo(&in)
	}
	fmt.Printf("%s %s %s %t\n", in.Keys, in.Prefixes, in.Tags, in.All)
	// Output: [index.html] [news/] [sport] false
}

// TestSeal has entries that are as they were made, and others. What a purge is for stands in the
// entry in clear: whoever reads the log sees the names of keys, prefixes and tags. The secret proves
// who made the entry, and hides nothing.
func TestSeal(t *testing.T) {
	made := shared.Cluster{Namespace: "test", Secret: file.NewSecret(testSecret)}
	with := func(change func(*shared.Cluster)) *shared.Cluster {
		c := made
		change(&c)
		return &c
	}
	other := file.NewSecret(strings.Repeat("o", 32))
	for name, c := range map[string]struct {
		reader *shared.Cluster
		change func(*entry)
		opens  bool
	}{
		"as it was made":    {reader: &made, opens: true},
		"by another secret": {reader: with(func(c *shared.Cluster) { c.Secret = other })},
		"by the one before": {reader: with(func(c *shared.Cluster) { c.Secret, c.PreviousSecret = other, made.Secret }), opens: true},
		"by the next one":   {reader: with(func(c *shared.Cluster) { c.PreviousSecret = other }), opens: true},
		"of another group":  {reader: with(func(c *shared.Cluster) { c.Namespace = "tes" })},
		"another body":      {reader: &made, change: func(e *entry) { e.body = strings.Replace(e.body, "main", "mine", 1) }},
		"no mac":            {reader: &made, change: func(e *entry) { e.mac = "" }},
		"half a mac":        {reader: &made, change: func(e *entry) { e.mac = e.mac[:16] }},
	} {
		t.Run(name, func(t *testing.T) {
			maker, reader := newSeal(&made), newSeal(c.reader)
			want := Purge{Bucket: "main", Kind: Prefix, Name: []byte("in/clear/\xff"), Soft: true}
			e := maker.entry(&want)
			if !strings.Contains(e.body, `"bucket":"main"`) || strings.Contains(e.body+e.mac, testSecret[:8]) {
				t.Errorf("%+v", e)
			}
			if c.change != nil {
				c.change(&e)
			}
			p, err := reader.open(e)
			if (err == nil) != c.opens {
				t.Fatalf("%+v, %v", p, err)
			}
			if c.opens && (p.Bucket != want.Bucket || p.Kind != want.Kind || string(p.Name) != string(want.Name) || !p.Soft) {
				t.Errorf("%+v, want %+v", p, want)
			}
		})
	}
}

// TestSealOfNonsense has an entry of a gateway that is no purge.
func TestSealOfNonsense(t *testing.T) {
	s := newSeal(&shared.Cluster{Namespace: "test", Secret: file.NewSecret(testSecret)})
	e := entry{body: "{"}
	e.mac = s.mac(s.secrets[0], e)
	if p, err := s.open(e); err == nil {
		t.Errorf("%+v", p)
	}
}

// TestPlaceOf reads answers of scripts that are not as they should be.
func TestPlaceOf(t *testing.T) {
	for _, reply := range [][]string{nil, {"a", "1"}, {"a", "x", "r"}, {"a", "-1", "r"}} {
		if p, err := placeOf(reply); err == nil {
			t.Errorf("%q is read as %+v", reply, p)
		}
	}
}
