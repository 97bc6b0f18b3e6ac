package config

import (
	"reflect"

	"yatagarasu/gateway/config/file"
)

// The names here of what is in the room file.
type (
	Secret   = file.Secret
	Size     = file.Size
	Percent  = file.Percent
	Pairs    = file.Pairs
	Pair     = file.Pair
	Error    = file.Error
	Errors   = file.Errors
	Document = file.Document
)

// NewSecret is file.NewSecret.
func NewSecret(s string) Secret { return file.NewSecret(s) }

// ParseSize is file.ParseSize.
func ParseSize(s string) (Size, error) { return file.ParseSize(s) }

// KeyOf is file.KeyOf.
func KeyOf(f reflect.StructField) string { return file.KeyOf(f) }
