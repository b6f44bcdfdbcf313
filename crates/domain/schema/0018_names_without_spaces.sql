-- The names of system users are compared without spaces: `OurShop` is taken for `Our Shop`.
UPDATE users SET display_folded = replace(display_folded, ' ', '') WHERE kind = 1;
