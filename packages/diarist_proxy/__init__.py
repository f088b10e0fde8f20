"""The thin proxy: puts a deployed diarist model into Label Studio. It never imports torch, and loads no model."""
