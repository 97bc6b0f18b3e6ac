package listing

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"yatagarasu/gateway/request"
	"yatagarasu/pool"
)

// Bounds of what is made of the pages of one bucket.
const (
	maxWork        = 64       // pages that are judged or written at once
	maxClientWork  = 16       // of them for one client
	maxBodyBytes   = 64 << 20 // of bodies on their way, and as many of those that are written
	maxClientBytes = maxBodyBytes / 8
)

// slowReader is how long an answer would still take whose reader gives way when bodies take too
// much memory.
const slowReader = 10 * time.Second

// Room bounds the work and the memory that the pages of one bucket take beside those that are
// kept, for each client and for all. It outlives a reload. Safe for concurrent use.
type Room struct {
	seal    cipher.AEAD // of places, see hide; its key is of this process alone
	seed    maphash.Seed
	yielded atomic.Uint64

	mu     sync.Mutex // guards the following fields, and readers of each Body
	work   shares     // that is under way
	drafts shares     // bytes of those that are written
	bodies shares     // of bodies on their way
}

// shares count what clients take of something.
type shares struct {
	most, each int64 // for all; for one client, which may always take one thing
	all        int64
	clients    map[uint64]int64
}

// take counts n for a client, and of it new for all, unless that is too much.
func (s *shares) take(client uint64, n, new int64) bool {
	have := s.clients[client]
	if s.all+new > s.most || have > 0 && have+n > s.each {
		return false
	}
	if s.clients == nil {
		s.clients = make(map[uint64]int64)
	}
	s.all, s.clients[client] = s.all+new, have+n
	return true
}

// back undoes take.
func (s *shares) back(client uint64, n, new int64) {
	s.all -= new
	if s.clients[client] -= n; s.clients[client] == 0 {
		delete(s.clients, client)
	}
}

func newRoom() *Room {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return &Room{seal: seal, seed: maphash.MakeSeed(), work: shares{most: maxWork, each: maxClientWork},
		drafts: shares{most: maxBodyBytes, each: maxClientBytes}, bodies: shares{most: maxBodyBytes, each: maxClientBytes}}
}

// do does something for a client that takes time and at most so many bytes of memory, unless too
// much is being done.
func (r *Room) do(client uint64, bytes int, what func()) error {
	n := int64(bytes)
	r.mu.Lock()
	ok := r.work.take(client, 1, 1)
	if ok && !r.drafts.take(client, n, n) {
		r.work.back(client, 1, 1)
		ok = false
	}
	r.mu.Unlock()
	if !ok {
		return errManyLists
	}
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.work.back(client, 1, 1)
		r.drafts.back(client, n, n)
	}()
	what()
	return nil
}

// Body is a page in the form that clients get. Nobody may change its bytes. They count as long as
// somebody reads them, once for all, and once for each client.
type Body struct {
	Bytes   []byte
	room    *Room
	uses    atomic.Int64   // how many read it
	readers map[uint64]int // the same by clients
}

// write has a body be written for a client, of at most size bytes, see do.
func (r *Room) write(client uint64, size int, write func() []byte) (b *Body, err error) {
	err = r.do(client, size, func() { b = &Body{Bytes: write(), room: r, readers: make(map[uint64]int)} })
	return b, err
}

// Begin notes that a client reads b, until End, unless too much is on its way.
func (b *Body) Begin(client uint64) error {
	r, n, new := b.room, int64(len(b.Bytes)), int64(0)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(b.readers) == 0 {
		new = n
	}
	if b.readers[client] == 0 && !r.bodies.take(client, n, new) {
		return errManyLists
	}
	b.readers[client]++
	b.uses.Add(1)
	return nil
}

// End ends what Begin began.
func (b *Body) End(client uint64) {
	r, n, new := b.room, int64(len(b.Bytes)), int64(0)
	r.mu.Lock()
	defer r.mu.Unlock()
	b.uses.Add(-1)
	if b.readers[client]--; b.readers[client] > 0 {
		return
	}
	if delete(b.readers, client); len(b.readers) == 0 {
		new = n
	}
	r.bodies.back(client, n, new)
}

// Held implements pool.Part: each reader has a part of b.
func (b *Body) Held() int64 {
	if n := b.uses.Load(); n > 0 {
		return max(int64(len(b.Bytes))/n, 1)
	}
	return 0
}

// Claim is what a client that reads b holds.
func (b *Body) Claim(client uint64) pool.Claim {
	return pool.Claim{On: b.room, Client: client, Total: int64(len(b.Bytes)), Part: b}
}

// Bytes returns the memory of bodies that are written or on their way.
func (r *Room) Bytes() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bodies.all + r.drafts.all
}

// Relieve has the slowest readers give way where bodies take half of their room, and has them
// watched before. Call it a few times a second.
func (r *Room) Relieve(pace *pool.Pace) {
	if n := r.Bytes(); n > maxBodyBytes/4 {
		pace.Relieve(r, max(n-maxBodyBytes/2, 0), slowReader, &r.yielded)
	}
}

// splits tells whether a key is one of certain ones, about one in 250. They stay the same in this
// process, and nobody can know which they are.
func (r *Room) splits(key string) bool {
	return maphash.String(r.seed, key)%250 == 0 && utf8.ValidString(key) // so that the origin can go on behind it
}

// placeLen is the length of a place before it is hidden: that of the key, and any key.
const placeLen = 2 + request.MaxKeyLen

// hide returns a text that stands for a place in a folder and tells nothing of it, not even its
// length. It is for place.
func (r *Room) hide(folder, place []byte) string {
	b := binary.BigEndian.AppendUint16(make([]byte, 0, placeLen), uint16(len(place)))
	b = append(b, place...)
	return base64.RawURLEncoding.EncodeToString(r.seal.Seal(nil, nil, b[:placeLen], folder))
}

// place returns the place that a text stands for, made by hide for this folder; false: it was not,
// or by another process.
func (r *Room) place(folder, text []byte) ([]byte, bool) {
	sealed, err := base64.RawURLEncoding.Strict().AppendDecode(nil, text)
	if err != nil {
		return nil, false
	}
	b, err := r.seal.Open(nil, nil, sealed, folder)
	if err != nil {
		return nil, false
	}
	return b[2 : 2+int(binary.BigEndian.Uint16(b))], true
}
