package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"yatagarasu/loadtest/process"
)

// gateways is how many there are.
const gateways = 3

// patience is how long a client waits for an answer: longer than any gateway is frozen.
const patience = 15 * time.Second

// gateway is one of those that purges must reach.
type gateway struct {
	at         int // its index
	url, admin string
	token      string // of administrative calls
	client     *http.Client

	process *process.Process
	launch  func(context.Context) (*process.Process, error)
	journal *journal

	mu     sync.Mutex // guards the following fields
	frozen bool
	thawed time.Time // last
	down   bool      // killed, and not back yet
	downs  int       // so far
	cut    bool      // from Valkey, while the other gateways are not
	healed time.Time // last, after a cut
	debts  []func(time.Time)
}

func newGateway(at int, url, admin, token string, j *journal) *gateway {
	return &gateway{at: at, url: url, admin: admin, token: token, journal: j, client: &http.Client{
		Timeout:   patience,
		Transport: &http.Transport{MaxIdleConnsPerHost: 400, DisableCompression: true},
	}}
}

func (g *gateway) String() string { return fmt.Sprint("gateway ", g.at) }

// answer is what a gateway says of an object.
type answer struct {
	version int64
	shared  bool   // it comes from Valkey
	cache   string // how it came about: X-Cache, Cache-Status and Age
}

// errAway is why there is no answer from a gateway that was killed meanwhile, or that was
// halted until the time for the request was over.
var errAway = errors.New("the gateway was down")

// ask asks for an object.
func (g *gateway) ask(ctx context.Context, o *object) (answer, error) {
	status, header, body, err := g.do(ctx, http.MethodGet, g.url+o.path(), "")
	if err != nil {
		return answer{}, err
	}
	a := answer{shared: header.Get("X-Cache") == "SHARED", cache: fmt.Sprintf("%s; %s; age %q", header.Get("X-Cache"), header.Get("Cache-Status"), header.Get("Age"))}
	if status != http.StatusOK {
		return a, fmt.Errorf("%d %.200s", status, body)
	}
	if a.version, err = versionOf(body); err == nil && header.Get("ETag") != fmt.Sprintf(`"%d"`, a.version) {
		err = fmt.Errorf("version %d has ETag %s", a.version, header.Get("ETag"))
	}
	return a, err
}

// purgeReply is the gateway's answer to a purge.
type purgeReply struct {
	Nodes, Confirmed int
	notShared        bool
	text             string
}

// everywhere tells whether no gateway answers with anything older from now on.
func (r *purgeReply) everywhere() bool { return r.Nodes == gateways && r.Confirmed == gateways }

// purge calls for a purge.
func (g *gateway) purge(ctx context.Context, call string) (purgeReply, error) {
	status, _, body, err := g.do(ctx, http.MethodPost, g.admin+"/admin/cache/purge", call)
	if err != nil {
		return purgeReply{}, err
	}
	r := purgeReply{text: fmt.Sprintf("%d %s", status, strings.TrimSpace(body))}
	switch {
	case status == http.StatusServiceUnavailable && strings.Contains(body, "purge_not_shared"):
		r.notShared = true
		return r, nil
	case status != http.StatusOK:
		return r, fmt.Errorf("a purge is answered %.300s", r.text)
	}
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		return r, fmt.Errorf("cannot read the answer to a purge, %q: %w", body, err)
	}
	return r, nil
}

func (g *gateway) do(ctx context.Context, method, url, body string) (status int, h http.Header, text string, err error) {
	g.mu.Lock()
	down, downs := g.down, g.downs
	g.mu.Unlock()
	if down {
		return 0, nil, "", errAway
	}
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if err != nil && downs != g.downs {
			err = errAway
		}
	}()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	if method == http.MethodPost {
		r.Header.Set("Authorization", "Bearer "+g.token)
	}
	begin := time.Now()
	a, err := g.client.Do(r)
	if err != nil {
		return 0, nil, "", err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if a.StatusCode == http.StatusRequestTimeout && g.fromBegin(begin) != begin {
		err = errAway
	}
	return a.StatusCode, a.Header, string(b), err
}

// freeze halts the gateway.
func (g *gateway) freeze() {
	g.mu.Lock()
	g.frozen = true
	g.mu.Unlock()
	g.process.Freeze()
	g.journal.note(g.String() + " halted")
}

// thaw lets it go on.
func (g *gateway) thaw() {
	g.mu.Lock()
	g.frozen, g.thawed = false, time.Now()
	g.mu.Unlock()
	g.process.Thaw()
	g.journal.note(g.String() + " goes on")
}

func (g *gateway) isFrozen() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.frozen
}

// end ends the gateway, in the way that is given.
func (g *gateway) end(how func(*process.Process)) {
	g.mu.Lock()
	g.down, g.debts = true, nil // what it could not share is gone
	g.downs++
	g.mu.Unlock()
	how(g.process)
	g.journal.note(g.String() + " ended")
}

// start starts it again.
func (g *gateway) start(ctx context.Context) error {
	p, err := g.launch(ctx)
	if err != nil {
		return err
	}
	g.process = p
	g.journal.note(g.String() + " started")
	g.mu.Lock()
	g.down = false
	g.mu.Unlock()
	return nil
}

// setCut notes that the gateway, alone, has lost Valkey, or has it again.
func (g *gateway) setCut(cut bool) {
	g.journal.note(fmt.Sprintf("%s cut off from Valkey: %v", g, cut))
	g.mu.Lock()
	g.cut = cut
	var due []func(time.Time)
	now := time.Now()
	if !cut {
		g.healed, due, g.debts = now, g.debts, nil
	}
	g.mu.Unlock()
	for _, f := range due {
		f(now)
	}
}

// fromBegin returns when a call that was made at begin, and is answered by now, may have
// reached the gateway.
func (g *gateway) fromBegin(begin time.Time) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.thawed.After(begin) {
		return g.thawed
	}
	return begin
}

// onceHealed calls f with the time when the gateway could share what it was told at
// begin: begin, unless it alone was cut off from Valkey.
func (g *gateway) onceHealed(begin time.Time, f func(time.Time)) {
	g.mu.Lock()
	if g.cut {
		g.debts = append(g.debts, f)
		g.mu.Unlock()
		return
	}
	if g.healed.After(begin) {
		begin = g.healed
	}
	g.mu.Unlock()
	f(begin)
}
