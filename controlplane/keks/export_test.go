package keks

import (
	"context"
	"errors"
	"time"
)

// Look does once what Run does at every look at the database.
func (k *Keks) Look(ctx context.Context) error {
	err := errors.Join(k.look(ctx, true), k.heal(ctx), k.rotateDue(ctx))
	k.warn(ctx)
	return err
}

// Known is what this node knows without asking.
func (k *Keks) Known() []Status { return k.known() }

// DocumentOf reads a document, and returns what encode makes of it.
func DocumentOf(name, text string) (again string, err error) {
	d, err := decode(name, text)
	if err != nil {
		return "", err
	}
	return d.encode()
}

// Forge is the document of a KEK that somebody else made.
func Forge(name string) (string, error) {
	d := &document{Version: documentVersion, Name: name}
	if _, err := d.add(time.Now()); err != nil {
		return "", err
	}
	return d.encode()
}
