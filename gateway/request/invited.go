package request

import "github.com/valyala/fasthttp"

// headerInvited marks a request whose sender was judged before its body: its value says what came
// of that. No client can send it, for it has no name before its colon.
const (
	headerInvited = ":invited"
	invited       = "yes" // fasthttp reads the body
	guessed       = "no"  // its token is wrong
)

// Invite marks h: its body is read.
func Invite(h *fasthttp.RequestHeader) { h.Set(headerInvited, invited) }

// IsInvited tells whether Invite has marked h.
func IsInvited(h *fasthttp.RequestHeader) bool { return string(h.Peek(headerInvited)) == invited }

// NoteGuess marks h: it has a wrong token.
func NoteGuess(h *fasthttp.RequestHeader) { h.Set(headerInvited, guessed) }

// IsGuess tells whether NoteGuess has marked h.
func IsGuess(h *fasthttp.RequestHeader) bool { return string(h.Peek(headerInvited)) == guessed }
