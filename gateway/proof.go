package gateway

import (
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/sign"
)

// proofFor is how long an origin that has taken a credential counts as taking it.
const proofFor = 10 * time.Second

// proof is the knowledge that an origin takes a credential. The zero value is none. Safe
// for concurrent use.
type proof struct {
	signer atomic.Pointer[sign.Signer]
	at     atomic.Int64 // Unix nanoseconds
}

// note takes down that s was taken at now.
//
// Hot path: mostly two loads.
func (p *proof) note(s *sign.Signer, now time.Time) {
	t := now.UnixNano()
	if p.signer.Load() == s && t-p.at.Load() < int64(proofFor/10) {
		return
	}
	p.at.Store(t)
	p.signer.Store(s)
}

// refute forgets s.
func (p *proof) refute(s *sign.Signer) { p.signer.CompareAndSwap(s, nil) }

// holds tells whether s was taken shortly before now.
func (p *proof) holds(s *sign.Signer, now time.Time) bool {
	return p.signer.Load() == s && now.UnixNano()-p.at.Load() < int64(proofFor)
}

// noteAnswer takes down what an answer to a request signed with s says about s. An error
// without a code says nothing: HEAD has none, and not only S3 may have answered. o is nil
// where it is none.
func (p *proof) noteAnswer(s *sign.Signer, status int, o *s3Outcome, code string, now time.Time) {
	switch {
	case o == nil:
		if status < 300 || status == fasthttp.StatusNotModified {
			p.note(s, now)
		}
	case code == "":
	case o.fault == faultSetup:
		p.refute(s)
	default:
		switch o {
		case outcomeDenied, outcomeNoSuchKey, outcomeNoSuchVersion, outcomeDeleted, outcomeArchived, outcomeKMS, outcomeKMSDown:
			p.note(s, now) // others may be said before the signature is looked at
		}
	}
}
