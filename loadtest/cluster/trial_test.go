package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// double stands in for a gateway. It keeps what it fetched until it is purged.
type double struct {
	origin string

	mu     sync.Mutex // guards the following fields
	stored map[string]string
	purged int // so far
}

// conduct is how doubles share purges.
type conduct struct {
	confirmed int           // as they say
	status    int           // 0: 200
	late      time.Duration // until the others are purged
	never     bool          // the others are not
	fills     bool          // what was asked for before a purge is stored after it
}

func (d *double) get(w http.ResponseWriter, path string, fills bool) {
	d.mu.Lock()
	body, hit := d.stored[path]
	purged := d.purged
	d.mu.Unlock()
	if !hit {
		r, err := http.Get(d.origin + path)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		body = string(b)
		d.mu.Lock()
		if fills || purged == d.purged {
			d.stored[path] = body
		}
		d.mu.Unlock()
	}
	version, err := versionOf(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%d"`, version))
	io.WriteString(w, body)
}

// purge drops what a call names.
func (d *double) purge(call string, objects map[string]*object) {
	var c struct {
		Bucket, Key, Prefix, Tag string
		All                      bool
	}
	if err := json.Unmarshal([]byte(call), &c); err != nil {
		panic(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.purged++
	maps.DeleteFunc(d.stored, func(path, _ string) bool {
		o := objects[path]
		return (c.Bucket == "" || c.Bucket == o.bucket) && (c.All || o.key == c.Key || o.tag == c.Tag || c.Prefix != "" && strings.HasPrefix(o.key, c.Prefix))
	})
}

// judge runs 100 purges through doubles.
func judge(t *testing.T, c conduct) *trial {
	t.Helper()
	recovery := 10 * time.Second
	if c.confirmed < gateways {
		recovery = 200 * time.Millisecond // which passes
	}
	trial := &trial{name: t.Name(), purges: 100, quiet: true, within: time.Second, slack: 200 * time.Millisecond, recovery: recovery, journal: new(journal), objects: newObjects()}
	var all []*object
	for _, own := range trial.objects {
		all = append(all, own...)
	}
	var err error
	if trial.origin, err = startOrigin(all, c.fills); err != nil {
		t.Fatal(err)
	}
	defer trial.origin.stop()
	var doubles [gateways]*double
	for i := range doubles {
		doubles[i] = &double{origin: trial.origin.url, stored: make(map[string]string)}
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				doubles[i].get(w, r.URL.Path, c.fills)
				return
			}
			call, _ := io.ReadAll(r.Body)
			for k, d := range doubles {
				purge := func() { d.purge(string(call), trial.origin.objects) }
				switch {
				case k == i || c.late == 0 && !c.never:
					purge()
				case !c.never:
					time.AfterFunc(c.late, purge)
				}
			}
			if c.status != 0 {
				w.WriteHeader(c.status)
				io.WriteString(w, `{"error":"purge_not_shared"}`)
				return
			}
			fmt.Fprintf(w, `{"purged":1,"position":1,"nodes":3,"confirmed":%d}`, c.confirmed)
		}))
		defer s.Close()
		trial.gateways[i] = newGateway(i, s.URL, s.URL, "token", nil)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := trial.run(ctx); err != nil {
		t.Fatal(err)
	}
	return trial
}

// TestJudgement holds the oracle against gateways that keep their promise, and against
// some that do not.
func TestJudgement(t *testing.T) {
	const tries = 10 // on a busy machine, a gateway may be late and nobody ask in time
	for name, c := range map[string]struct {
		conduct
		wrong string // why answers are, a regular expression; empty: none is
		flaw  string // that is found as well
	}{
		"purges reach all":                            {conduct{confirmed: 3}, "", ""},
		"confirmed, but the others keep all":          {conduct{confirmed: 3, never: true}, "all gateways confirmed the purge", ""},
		"confirmed, but the others follow later":      {conduct{confirmed: 3, late: 500 * time.Millisecond}, "all gateways confirmed the purge", ""},
		"late answers of the origin are stored":       {conduct{confirmed: 3, fills: true}, "(all gateways confirmed|this gateway answered) the purge", ""},
		"unconfirmed, and the others keep all":        {conduct{confirmed: 2, never: true}, "the purge is older than purge.within", "only 0 of"},
		"unconfirmed, and the others follow too late": {conduct{confirmed: 2, late: 3 * time.Second}, "the purge is older than purge.within", "no purge through gateway 0 is confirmed by all"},
		"unconfirmed, and the others follow in time":  {conduct{confirmed: 2, late: 50 * time.Millisecond}, "", "only 0 of"},
		"not shared, and the others keep all":         {conduct{status: 503, never: true}, "could not be shared at once, is older", "only 0 of"},
		"not shared at once, and the others in time":  {conduct{status: 503, late: 50 * time.Millisecond}, "", "only 0 of"},
		"purges are refused":                          {conduct{status: 500}, "", "a purge is answered 500"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var trial *trial
			for range tries {
				trial = judge(t, c.conduct)
				t.Log(trial.progress())
				if c.wrong == "" || trial.result.wrongs() > 0 {
					break
				}
			}
			flaws := strings.Join(trial.result.flaws, "\n")
			if !regexp.MustCompile(c.wrong).MatchString(flaws) || !strings.Contains(flaws, c.flaw) || (c.wrong != "") != (trial.result.wrongs() > 0) || c.wrong+c.flaw == "" && flaws != "" {
				t.Errorf("found: %s\nwant: %s, %s", flaws, c.wrong, c.flaw)
			}
		})
	}
}
