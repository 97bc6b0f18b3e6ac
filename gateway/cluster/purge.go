package cluster

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"

	"yatagarasu/cache"
	"yatagarasu/gateway/config/shared"
)

// Kind says what a purge goes by.
type Kind string

// The kinds of purges.
const (
	Key    Kind = "key"
	Prefix Kind = "prefix"
	Tag    Kind = "tag"
	All    Kind = "all"
)

// Purge is one purge, as gateways tell each other.
type Purge struct {
	Bucket string `json:"bucket,omitempty"` // empty: every bucket
	Kind   Kind   `json:"kind"`
	Name   []byte `json:"name,omitempty"` // of the key, prefix or tag
	Soft   bool   `json:"soft,omitempty"`
	From   string `json:"from"` // the gateway that was called, see Node.field: it has made the purge
}

// AddTo adds the purge to those of its bucket that memory makes together.
func (p *Purge) AddTo(in *cache.Purges) {
	switch p.Kind {
	case Key:
		in.Keys = append(in.Keys, p.Name)
	case Prefix:
		in.Prefixes = append(in.Prefixes, p.Name)
	case Tag:
		in.Tags = append(in.Tags, string(p.Name))
	default: // a later version may have other kinds, of which this one cannot tell what they are for
		in.All = true
	}
}

// entry is a purge as the log has it.
type entry struct {
	body, mac string
	purge     *Purge // what it says, in an entry of this gateway; else nil
}

// seal makes entries, and knows those that were made with the same secret.
type seal struct {
	context string
	secrets [][]byte // the first one makes, all of them are known
}

func newSeal(c *shared.Cluster) seal {
	s := seal{context: "yatagarasu purge log\x00" + c.Namespace + "\x00", secrets: [][]byte{[]byte(c.Secret.Reveal())}}
	if !c.PreviousSecret.Empty() {
		s.secrets = append(s.secrets, []byte(c.PreviousSecret.Reveal()))
	}
	return s
}

// entry returns the entry of a new purge.
func (s *seal) entry(p *Purge) entry {
	body, err := json.Marshal(p)
	if err != nil {
		panic("BUG: a purge cannot be encoded: " + err.Error())
	}
	e := entry{body: string(body), purge: p}
	e.mac = s.mac(s.secrets[0], e)
	return e
}

// mac returns the HMAC-SHA256 (RFC 2104) of an entry's body in this namespace. Replaying an entry
// makes its purge again, which costs a miss: its position is not part of it.
func (s *seal) mac(secret []byte, e entry) string {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(s.context))
	h.Write([]byte(e.body))
	return string(h.Sum(nil))
}

// errForeign is the error of an entry that was not made with the secret.
var errForeign = errors.New("it was not made with this secret")

// open returns the purge of an entry.
func (s *seal) open(e entry) (*Purge, error) {
	for _, secret := range s.secrets {
		if hmac.Equal([]byte(e.mac), []byte(s.mac(secret, e))) {
			p := new(Purge)
			return p, json.Unmarshal([]byte(e.body), p)
		}
	}
	return nil, errForeign
}
